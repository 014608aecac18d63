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
  const within = (event, selector) => (event.target instanceof Element ? event.target.closest(selector)?.closest("[data-asks]") : null);
  function leave(place) {
    if (!place) return;
    place.replaceChildren();
    asker?.focus();
  }
  document.addEventListener("click", (event) => leave(within(event, "[data-leave]")));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") leave(within(event, "[data-question]")); });
})();
