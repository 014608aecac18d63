// Which columns the list of runs shows; kept in this browser. Loaded in <head>: hidden ones must not flash.
(function () {
  "use strict";
  const STORED = "holdfast-columns", USUAL = "queue why took created";
  const root = document.documentElement;

  function apply(text) {
    if (text === null || text === USUAL) delete root.dataset.columns;
    else root.dataset.columns = text;
  }
  try { apply(localStorage.getItem(STORED)); } catch { /* storage is switched off: the usual ones */ }

  function keep(text) {
    apply(text);
    try {
      if (text === USUAL) localStorage.removeItem(STORED);
      else localStorage.setItem(STORED, text);
    } catch { /* the choice holds for this page */ }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.querySelector("details[data-columns]");
    if (!choice) return;
    const boxes = [...choice.querySelectorAll('input[type="checkbox"]')];
    const show = () => {
      const shown = (root.dataset.columns ?? USUAL).split(" ");
      for (const box of boxes) box.checked = shown.includes(box.value);
    };
    choice.hidden = false;
    choice.addEventListener("change", () => keep(boxes.filter((box) => box.checked).map((box) => box.value).join(" ")));
    choice.querySelector("[data-columns-usual]").addEventListener("click", () => { keep(USUAL); show(); });
    show();
  });
})();
