// Who works with the keyboard keeps their place. When htmx replaces the part of the page that has the focus, what does the
// same in the new part gets it: what was refused, the same control, what stands in its place, or the part itself.
(() => {
  "use strict";
  const CONTROLS = "a[href], button, summary, input:not([type=hidden]), select, textarea, [tabindex]";
  let place = null;

  const seen = (element) => !element.disabled && (element.checkVisibility?.({ visibilityProperty: true }) ?? true);
  const controls = (within) => [...within.querySelectorAll(CONTROLS)].filter(seen);
  const looks = (one) => [one.tagName, one.name, one.getAttribute("href"), one.getAttribute("aria-label") ?? one.textContent.trim()].join("\n");
  const cell = (one) => one.closest("td, th")?.cellIndex;

  // All parts around the focus that have a name, from the inside out.
  function around(element) {
    const ids = [];
    for (let part = element; part; part = part.parentElement) if (part.id) ids.push(part.id);
    return ids;
  }

  function remember() {
    const element = document.activeElement;
    if (!element || element === document.body || place?.element.isConnected === false) return;
    place = { element, ids: around(element), looks: looks(element), cell: cell(element) };
  }

  function restore() {
    const lost = place;
    if (!lost || lost.element.isConnected) return;
    place = null;
    if (document.activeElement && document.activeElement !== document.body) return;
    const part = lost.ids.map((id) => document.getElementById(id)).find(Boolean) ?? document.getElementById("main");
    const found = controls(part);
    const next = found.find((one) => one.getAttribute("aria-invalid") === "true")
      ?? found.find((one) => looks(one) === lost.looks)
      ?? found.find((one) => lost.cell !== undefined && cell(one) === lost.cell)
      ?? found[0] ?? part;
    if (next === part && !part.matches(CONTROLS)) part.tabIndex = -1;
    next.focus({ preventScroll: next === part });
  }

  document.addEventListener("htmx:beforeSwap", remember);
  for (const name of ["htmx:afterSwap", "htmx:afterSettle"]) document.addEventListener(name, restore);
})();
