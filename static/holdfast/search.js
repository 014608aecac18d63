// The search of the list of runs: a combobox (WAI-ARIA, list autocompletion, no choice made by itself). What could be
// typed next is asked of the server; without this script the field is a field.
(() => {
  "use strict";
  const PAUSE = 120; // milliseconds of quiet before the server is asked

  const input = document.querySelector("input[data-suggestions]");
  if (!input) return;
  const list = document.getElementById("f-q-choices");
  const told = input.form.querySelector("[data-suggested]");
  let found = { start: 0, end: 0, items: [] }, active = -1, timer = 0, asking = null;

  input.setAttribute("role", "combobox");
  input.setAttribute("aria-autocomplete", "list");
  input.setAttribute("aria-expanded", "false");
  input.setAttribute("aria-controls", list.id);

  const isOpen = () => !list.hidden;
  // The server counts characters, a browser counts halves of the rare ones.
  const characters = (text) => [...text].length;
  const halves = (text, count) => [...text].slice(0, count).join("").length;

  function close() {
    clearTimeout(timer);
    asking?.abort();
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(ask, PAUSE);
  }

  async function ask() {
    asking?.abort();
    const mine = asking = new AbortController();
    const text = input.value, at = characters(text.slice(0, input.selectionStart ?? text.length));
    try {
      const query = new URLSearchParams({ q: text, at: String(at) });
      const answer = await fetch(`${input.dataset.suggestions}?${query}`, { signal: mine.signal });
      if (!answer.ok || mine.signal.aborted || document.activeElement !== input) return;
      found = await answer.json();
    } catch {
      return; // asked anew meanwhile, or the server is away: the field works without
    }
    if (!mine.signal.aborted && input.value === text) show();
  }

  function show() {
    active = -1;
    input.removeAttribute("aria-activedescendant");
    const typed = [...input.value].slice(found.start, found.end).join("");
    const items = found.items.filter((item) => item.text !== typed);
    found = { ...found, items };
    list.replaceChildren(...items.map(option));
    list.hidden = !items.length;
    input.setAttribute("aria-expanded", String(isOpen()));
    told.textContent = items.length ? `${items.length} suggestions` : "";
  }

  function option(item, index) {
    const row = document.createElement("li"), text = document.createElement("b"), note = document.createElement("small");
    row.id = `${list.id}-${index}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", "false");
    row.dataset.index = index;
    text.textContent = item.text;
    note.textContent = item.note;
    row.append(text, note);
    return row;
  }

  function move(to) {
    const rows = list.children;
    rows[active]?.setAttribute("aria-selected", "false");
    active = to < -1 ? rows.length - 1 : to >= rows.length ? -1 : to;
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    rows[active].setAttribute("aria-selected", "true");
    rows[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", rows[active].id);
  }

  function take(index) {
    const item = found.items[index], text = input.value;
    const before = text.slice(0, halves(text, found.start)), after = text.slice(halves(text, found.end));
    const written = item.text + (item.open || after.startsWith(" ") || after.startsWith(",") ? "" : " ");
    close();
    input.value = before + written + after;
    const at = before.length + written.length;
    input.focus();
    input.setSelectionRange(at, at);
    later();
  }

  input.addEventListener("input", later);
  input.addEventListener("click", later);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!isOpen()) ask();
      else move(active + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter" && isOpen() && active >= 0) {
      event.preventDefault();
      take(active);
    } else if (event.key === "Tab" && isOpen() && active >= 0) {
      event.preventDefault();
      take(active);
    } else if (event.key === "Enter") close(); // what was typed last is not suggested upon what is found
    else if (event.key === "Escape" && isOpen()) {
      event.preventDefault();
      close();
    } else if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) later();
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (row) take(Number(row.dataset.index));
  });
})();
