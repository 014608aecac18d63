// Finding anything: Ctrl-K or ⌘K opens a combobox over pages, tasks, queues, workers, tags and runs; Enter goes there.
// A run's id that is pasted anywhere outside a field leads to the run. Without this script the button is a link.
(() => {
  "use strict";
  const PAUSE = 120; // milliseconds of quiet before the server is asked
  const ID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
  const JUMPS = ["run", "approval"];

  const dialog = document.getElementById("find");
  const input = document.getElementById("find-q"), list = document.getElementById("find-choices");
  const told = dialog.querySelector("[data-find-told]");
  const address = input.form.action;
  const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
  let hits = [], active = -1, timer = 0, asking = null, wanted = false, askedFor = null;

  async function ask(text, signal) {
    const answer = await fetch(`${address}?${new URLSearchParams({ q: text })}`, { headers: { Accept: "application/json" }, signal });
    if (answer.redirected) location.reload(); // the session is over
    const data = await answer.json();
    if (!answer.ok) throw new Error(data.message ?? String(answer.status));
    return data.items;
  }

  async function look() {
    asking?.abort();
    const mine = asking = new AbortController(), text = input.value;
    try {
      const found = await ask(text, mine.signal);
      if (!mine.signal.aborted) show(found, text);
    } catch (error) {
      if (mine.signal.aborted) return;
      show([], text);
      told.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
    }
  }

  function show(found, text) {
    hits = found;
    askedFor = text;
    list.replaceChildren(...hits.map(option));
    input.setAttribute("aria-expanded", String(hits.length > 0));
    told.textContent = hits.length ? `${hits.length} found` : "Nothing is called that.";
    choose(hits.length ? 0 : -1);
    if (wanted) go();
  }

  function option(hit, index) {
    const row = document.createElement("li"), text = document.createElement("b"), note = document.createElement("small");
    row.id = `find-${index}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", "false");
    row.dataset.index = index;
    text.textContent = hit.text;
    note.textContent = hit.note;
    row.append(text, note);
    return row;
  }

  function choose(to) {
    list.children[active]?.setAttribute("aria-selected", "false");
    active = hits.length ? (to + hits.length) % hits.length : -1;
    if (active < 0) return input.removeAttribute("aria-activedescendant");
    const row = list.children[active];
    row.setAttribute("aria-selected", "true");
    row.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", row.id);
  }

  // Enter may come before the answer to what was typed: it goes to what that answer has first.
  function go() {
    wanted = askedFor !== input.value;
    if (wanted) { clearTimeout(timer); look(); return; }
    if (hits[active]) location.assign(hits[active].url);
  }

  function open() {
    if (dialog.open) return;
    for (const other of document.querySelectorAll("dialog[open]")) other.close();
    dialog.showModal();
    input.select();
    wanted = false;
    look();
  }

  input.addEventListener("input", () => { wanted = false; clearTimeout(timer); timer = setTimeout(look, PAUSE); });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown") choose(active + 1);
    else if (event.key === "ArrowUp") choose(active - 1);
    else if (event.key === "Enter") go();
    else return;
    event.preventDefault();
  });
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  list.addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (row) location.assign(hits[Number(row.dataset.index)].url);
  });
  dialog.addEventListener("close", () => asking?.abort());

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element && event.target.closest("[data-find]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || event.altKey || event.shiftKey || !(isMac ? event.metaKey : event.ctrlKey)) return;
    event.preventDefault();
    open();
  });

  document.addEventListener("paste", async (event) => {
    if (event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]")) return;
    const text = event.clipboardData?.getData("text/plain").trim() ?? "";
    if (!ID.test(text)) return;
    try {
      const hit = (await ask(text)).find((one) => JUMPS.includes(one.kind));
      if (hit) location.assign(hit.url);
      else Holdfast.toast(`There is no run ${text}.`, "warning");
    } catch {
      Holdfast.toast("The server cannot be reached.", "error");
    }
  });

  for (const key of document.querySelectorAll("[data-find-key]")) key.textContent = isMac ? "⌘K" : "Ctrl K";
  window.HoldfastFind = Object.freeze({ open });
})();
