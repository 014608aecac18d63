// The favicon is red while things are down, on whatever page one is: the front page says so itself, the others ask.
(() => {
  "use strict";
  const EVERY = 30000; // milliseconds
  const address = document.currentScript.dataset.verdict;
  const here = () => document.getElementById("now");

  async function look() {
    // A hidden tab asks too: there the favicon is all that is seen of it, and the front page stands still.
    if (here() && !document.hidden) return Holdfast.alert("alert" in here().dataset);
    try {
      const answer = await fetch(address, { headers: { Accept: "application/json" } });
      if (answer.ok && !answer.redirected) Holdfast.alert((await answer.json()).down);
      else if (answer.status >= 500) Holdfast.alert(true);
    } catch {
      Holdfast.alert(true); // the server itself cannot be reached
    }
  }

  document.addEventListener("htmx:afterSwap", () => { if (here()) look(); });
  document.addEventListener("visibilitychange", look);
  setInterval(look, EVERY);
  // After what the page itself asks for.
  if (here()) look();
  else setTimeout(look, 1000);
})();
