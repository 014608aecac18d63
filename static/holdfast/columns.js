// The columns of the list of runs stand in its address. This browser only remembers which ones somebody always wants:
// an address that names none gets those. Loaded in <head>, before anything is drawn.
(function () {
  "use strict";
  const STORED = "holdfast-columns";
  const known = document.currentScript.dataset.known.trim().split(" ");

  function remembered() {
    try {
      const names = (localStorage.getItem(STORED) ?? "").split(",");
      return names.filter((name) => known.includes(name) || name === "task"); // another version may have had others
    } catch { return []; /* storage is switched off: the usual ones */ }
  }
  function remember(text) {
    try {
      if (text) localStorage.setItem(STORED, text);
      else localStorage.removeItem(STORED);
    } catch { /* the choice holds for this page */ }
  }

  const mine = remembered();
  if (mine.length && !new URLSearchParams(location.search).has("columns")) {
    const search = location.search.length > 1 ? `${location.search}&` : "?";
    location.replace(`${search}columns=${mine.join(",")}${location.hash}`);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const form = document.querySelector("form[data-columns]");
    if (!form) return;
    const always = form.querySelector("[data-columns-keep]"), keep = always.querySelector("input");
    always.hidden = false;
    keep.checked = mine.length > 0;
    // One parameter with commas, as all links have it.
    form.addEventListener("formdata", ({ formData }) => formData.set("columns", formData.getAll("columns").join(",")));
    form.addEventListener("submit", () => remember(keep.checked ? new FormData(form).get("columns") : ""));
    form.querySelector("[data-columns-usual]").addEventListener("click", () => remember(""));
  });
})();
