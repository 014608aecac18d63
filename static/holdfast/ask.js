// A question that is asked in place ([data-asks]): it takes the focus, and when it is left, gives it back to what asked.
(() => {
  "use strict";
  let asker = null;
  document.addEventListener("htmx:afterSwap", (event) => {
    const place = event.detail.target;
    if (!place.matches("[data-asks]")) return;
    asker = event.detail.requestConfig?.elt ?? null;
    place.querySelector("[data-question]")?.focus();
  });
  document.addEventListener("click", (event) => {
    const place = event.target instanceof Element ? event.target.closest("[data-leave]")?.closest("[data-asks]") : null;
    if (!place) return;
    place.replaceChildren();
    asker?.focus();
  });
})();
