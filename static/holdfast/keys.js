// Shortcuts. Those of single characters never fire while something is typed, and can be switched off (WCAG 2.1.4).
(() => {
  "use strict";
  const STORED = "holdfast-keys";
  const PATIENCE = 1500; // milliseconds between `g` and its letter

  const dialog = document.getElementById("shortcuts"), choice = document.getElementById("keys-on");
  let off = false, goes = 0;
  try { off = localStorage.getItem(STORED) === "off"; } catch { /* storage is switched off: they are on */ }
  choice.checked = !off;
  choice.addEventListener("change", () => {
    off = !choice.checked;
    try {
      if (off) localStorage.setItem(STORED, "off");
      else localStorage.removeItem(STORED);
    } catch { /* the choice holds for this page */ }
  });

  function show() {
    if (dialog.open) return;
    for (const other of document.querySelectorAll("dialog[open]")) other.close();
    dialog.showModal();
  }

  const seen = (element) => element.checkVisibility?.({ visibilityProperty: true }) ?? true;
  // The first link or button of each row of the page's tables.
  const rows = () => [...document.querySelectorAll("main tbody tr")]
    .map((row) => row.querySelector("a[href], button")).filter((one) => one && seen(one));

  function step(by) {
    const all = rows(), row = document.activeElement?.closest?.("main tbody tr");
    const here = row ? all.findIndex((one) => row.contains(one)) : -1;
    const next = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, here + by))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  function search() {
    const fields = document.querySelectorAll('main input[name="q"], main input[type="search"]');
    const field = [...fields].find(seen);
    if (!field) return HoldfastFind.open();
    field.focus();
    field.select();
  }

  const KEYS = {
    "?": show,
    "/": search,
    j: () => step(1),
    k: () => step(-1),
    n: () => document.querySelector("main a.arrivals")?.click(),
    p: () => { if (Holdfast.live.measured && document.querySelector("main .live")) Holdfast.live.pause(!Holdfast.live.paused); },
    g: () => { goes = performance.now(); },
  };

  const typing = (target) => target instanceof Element && target.closest('input:not([type="checkbox"], [type="radio"]), textarea, select, [contenteditable], [role="listbox"]');

  document.addEventListener("keydown", (event) => {
    if (off || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : "";
    const gone = goes && performance.now() - goes < PATIENCE;
    goes = 0;
    const place = gone && key ? document.querySelector(`.nav a[data-key="${CSS.escape(key)}"]`) : null;
    const act = place ? () => place.click() : gone ? null : KEYS[key];
    if (!act || !Object.hasOwn(KEYS, key) && !place) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("[data-shortcuts]")) show();
    else if (target?.closest("[data-dialog-close]")) target.closest("dialog").close();
  });
  for (const button of document.querySelectorAll("[data-shortcuts]")) button.hidden = false;
})();
