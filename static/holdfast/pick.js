// Selecting rows of the list of runs: a click, Shift for a range, all of the page, or all that fit. The bar below says how
// many, and asks before anything is done. Without this script the bar is always there, and leads to a page that asks.
(() => {
  "use strict";
  const bar = document.getElementById("bulk-bar"), form = document.getElementById("bulk");
  if (!form) return;
  const question = document.getElementById("bulk-question");
  const all = form.querySelector("[data-all]"), told = form.querySelector("[data-picked]");
  const boxes = () => [...document.querySelectorAll('#list .pick input[name="id"]')];
  const picked = () => boxes().filter((box) => box.checked);
  let last = null, asker = null, counted = false; // how many fit

  // Shift takes the rows from the one before to this one along, whichever way it went.
  function range(box) {
    const listed = boxes(), from = listed.indexOf(last), to = listed.indexOf(box);
    if (from < 0) return;
    for (const other of listed.slice(Math.min(from, to), Math.max(from, to) + 1)) other.checked = box.checked;
  }

  function takeAll(on) {
    all.value = on ? "1" : "";
    const button = form.querySelector("[data-take-all]");
    if (!button) return;
    button.dataset.take ??= button.textContent;
    button.textContent = on ? "Only the rows shown" : button.dataset.take;
  }

  function show() {
    const count = picked().length, whole = boxes().length, head = document.querySelector("[data-pick-all]");
    if (head) {
      head.checked = count > 0 && count === whole;
      head.indeterminate = count > 0 && count < whole;
    }
    question.replaceChildren(); // it was about another selection
    bar.classList.toggle("on", count > 0);
    if (!count) { takeAll(false); last = null; return; }
    told.textContent = all.value ? form.querySelector("[data-take-all]").dataset.takeAll : `${count} selected`;
    if (!counted) document.body.dispatchEvent(new CustomEvent("holdfast:picked"));
  }

  function leave() {
    question.replaceChildren();
    (asker?.isConnected ? asker : form.querySelector("button"))?.focus();
  }

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    if (target.matches('#list .pick input[name="id"]')) {
      if (event.shiftKey && last) range(target);
      last = target;
      takeAll(false);
      show();
    } else if (target.matches("[data-pick-all]")) {
      for (const box of boxes()) box.checked = target.checked;
      takeAll(false);
      show();
    } else if (target.closest("[data-take-all]")) {
      const on = !all.value;
      takeAll(on);
      if (on) for (const box of boxes()) box.checked = true;
      show();
    } else if (target.closest("[data-unpick]")) {
      for (const box of boxes()) box.checked = false;
      show();
      document.querySelector("[data-pick-all]")?.focus();
    } else if (target.closest("[data-leave]")) leave();
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && question.contains(event.target)) leave(); });
  // A range is selected, not the text between.
  document.addEventListener("mousedown", (event) => {
    if (event.shiftKey && event.target instanceof Element && event.target.closest("#list .pick")) event.preventDefault();
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt.id === "bulk-matching") counted = event.detail.successful;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "bulk-question") {
      asker = event.detail.requestConfig?.triggeringEvent?.submitter ?? null;
      question.querySelector("[data-question]")?.focus();
    }
    else if (event.detail.target.id === "list" && bar.classList.contains("on")) show();
  });
  window.addEventListener("pageshow", show);
})();
