// Forms of alerts and channels: only the fields that the chosen kind has. Without this script all are there, and those
// that the kind has no use for are left out by the server.
(() => {
  "use strict";
  for (const grid of document.querySelectorAll("[data-by-kind]")) {
    const kind = grid.querySelector('select[name="kind"]');
    if (!kind) continue;
    const show = () => {
      for (const part of grid.querySelectorAll("[data-kinds]")) part.hidden = !part.dataset.kinds.split(" ").includes(kind.value);
    };
    kind.addEventListener("change", show);
    show();
  }
})();
