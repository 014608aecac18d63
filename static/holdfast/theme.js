// Loaded in <head> before anything is painted: a chosen theme must not flash.
(function () {
  "use strict";
  var root = document.documentElement;
  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  }
  try { apply(localStorage.getItem("holdfast-theme")); } catch { /* storage is switched off: follow the system */ }
  window.addEventListener("storage", function (event) {
    if (event.key === "holdfast-theme") {
      apply(event.newValue);
      window.dispatchEvent(new Event("holdfast:theme"));
    }
  });
})();
