// Keeps a page current. One websocket; while it cannot be had, polling tells the same. Nothing moves while the person
// has paused it, the tab is hidden, text or rows are selected, or something in the part to be replaced is being filled in
// or has been asked for.
(() => {
  "use strict";
  const FIRST_RETRY = 500, LAST_RETRY = 15000; // milliseconds
  const OPENING = 5000, SILENCE = 15000; // until a socket that does not open, or says nothing more, is given up
  const POLL = 2000, ANSWER = 15000, LIST_PACE = 1000, CHART_PACE = 15000, HELD_LOOK = 500;
  const GONE = 4404, REFUSED = [4403, GONE]; // closed for good: not allowed (any more), or no such run

  // connect({ address(), message(data), poll(fetch) }): address() gives the path with the cursors to resume from; poll()
  // asks once, by a fetch that fails on whatever is no answer.
  function connect({ address, message, poll }) {
    let socket = null, tries = 0, timer = 0, polling = 0, asking = false, watch = 0, over = false;

    function open() {
      timer = 0;
      if (over || socket || idle()) return;
      const scheme = location.protocol === "https:" ? "wss:" : "ws:";
      const mine = socket = new WebSocket(`${scheme}//${location.host}${address()}`);
      const ours = (act) => (event) => { if (socket === mine) act(event); };
      // A way that lets nothing through need not say so: neither an answer nor a goodbye comes.
      const giveUp = () => { if (socket === mine) { closed({ code: 1006, silent: true }); mine.close(); } };
      const hear = (patience) => { clearTimeout(watch); watch = setTimeout(giveUp, patience); };
      hear(OPENING);
      socket.addEventListener("open", ours(() => { tries = 0; stopPolling(); hear(SILENCE); Holdfast.live.beat(); }));
      socket.addEventListener("message", ours((event) => {
        hear(SILENCE);
        Holdfast.live.beat();
        const data = JSON.parse(event.data);
        if (data.v === 1) message(data);
      }));
      socket.addEventListener("close", ours(closed));
    }

    function closed({ code, silent = false }) {
      clearTimeout(watch);
      socket = null;
      if (idle()) return;
      if (REFUSED.includes(code)) { end(code === GONE); return; }
      tries += 1;
      if (polling || asking) { /* what polling finds is the truth */ }
      else if (tries >= 2 || silent) startPolling(0);
      else Holdfast.live.lost();
      const wait = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** Math.min(tries - 1, 10));
      timer = setTimeout(open, wait * (0.5 + Math.random() / 2));
    }

    // Not allowed, or no such run: nothing more will come.
    function end(gone) {
      over = true;
      const why = gone ? "This is not there any more." : "You are signed out, or your role does not allow this any more.";
      Holdfast.toast(`${why} The page shows what it was told last.`, "error");
      clearTimeout(timer);
      stopPolling();
      Holdfast.live.lost();
    }

    async function pollOnce() {
      polling = 0;
      if (over || idle() || isOpen()) return;
      asking = true;
      try {
        await poll(ask);
        if (!isOpen()) Holdfast.live.beat("polling");
      } catch (error) {
        if (!isOpen()) Holdfast.live.lost();
        if (error.status === 403 || error.status === 404) end(error.status === 404);
      }
      asking = false;
      if (!over && !idle() && !isOpen()) startPolling(POLL);
    }
    function startPolling(wait) { if (!asking) polling ||= setTimeout(pollOnce, wait); }
    function stopPolling() { clearTimeout(polling); polling = 0; }

    const isOpen = () => socket?.readyState === WebSocket.OPEN;
    const idle = () => Holdfast.live.paused || document.hidden;
    function changed() {
      if (idle()) {
        clearTimeout(timer);
        timer = 0;
        stopPolling();
        leave();
      } else if (!socket && !timer) {
        const blocked = tries >= 2;
        tries = blocked ? 1 : 0;
        if (blocked) startPolling(0);
        open();
      }
    }
    // The goodbye is not waited for: a server that stands still does not answer it.
    function leave() {
      clearTimeout(watch);
      const left = socket;
      socket = null;
      left?.close(1000);
    }
    document.addEventListener("visibilitychange", changed);
    window.addEventListener("holdfast:live", changed);
    window.addEventListener("pagehide", () => { over = true; leave(); });
    window.addEventListener("pageshow", (event) => { if (event.persisted) { over = false; changed(); } });
    open();
  }

  // Asks for JSON. No answer in time is a failure, as one is that is no 2xx: a way that lets nothing through need not say so.
  async function ask(address) {
    const answer = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(ANSWER) });
    if (!answer.ok || answer.redirected) throw Object.assign(new Error(String(answer.status)), { status: answer.status });
    return answer.json();
  }

  // Lists: "changed" becomes `holdfast:changed` on the body, on which regions ask for themselves again. ---------------
  const REGION = '[hx-trigger*="holdfast:changed"]', regions = () => [...document.querySelectorAll(REGION)];
  // What a person has open, chosen, or asked for: the answer goes to a place that has to be there still.
  const IN_USE = `details.confirm[open], details.look[open], [data-question], .pick input:checked, .htmx-request:not(${REGION})`;

  // What says how an action came out, or takes it back, and where a run was when somebody asked, is there for so long,
  // although something else has changed.
  const STAYS = { "[data-stays]": 10000, "[data-looked]": 60000 }, since = new WeakMap();
  const stays = (element, long) => {
    if (!since.has(element)) since.set(element, performance.now());
    return performance.now() - since.get(element) < long;
  };

  function selectedIn(part) {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed && part.contains(selection.anchorNode);
  }

  function held() {
    if (document.hidden || Holdfast.live.paused) return true;
    return regions().some((region) => {
      if (selectedIn(region) || region.querySelector(IN_USE)) return true;
      for (const [kept, long] of Object.entries(STAYS)) {
        if ([...region.querySelectorAll(kept)].some((element) => stays(element, long))) return true;
      }
      const focused = document.activeElement;
      return focused && region.contains(focused) && focused.matches("input:not(.pick input), select, textarea");
    });
  }

  // A part that has asked does not hear that it should ask again: htmx forgets that. Nor does one that has just been put
  // there, where htmx waits before it settles (ours does not: templates/_document.html).
  const busy = (part) => part.matches(".htmx-request, .htmx-settling");

  const PULSE = "/pulse/"; // runs/views/now.py
  let waiting = false, firedAt = 0, chartsAt = performance.now();
  function fire() {
    if (waiting) return;
    waiting = true;
    const wait = Math.max(0, LIST_PACE - (performance.now() - firedAt));
    setTimeout(function go() {
      if (!waiting) return;
      if (held() || regions().some(busy)) { setTimeout(go, HELD_LOOK); return; }
      waiting = false;
      firedAt = performance.now();
      document.body.dispatchEvent(new CustomEvent("holdfast:changed"));
      redrawCharts();
    }, wait);
  }

  // What was asked for before somebody opened a form must not close it when it comes.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.requestConfig?.triggeringEvent?.type !== "holdfast:changed" || !held()) return;
    event.detail.shouldSwap = false;
    fire();
  });

  function redrawCharts() {
    if (!window.HoldfastChart || performance.now() - chartsAt < CHART_PACE) return;
    chartsAt = performance.now();
    for (const chart of document.querySelectorAll("[data-chart]:not([data-state=loading])")) HoldfastChart.refresh(chart);
  }

  function lists() {
    connect({
      address: () => "/ws/lists",
      message: (data) => { if (data.type === "changed") fire(); },
      // Whether the server is there is asked, not taken for granted: the light says it. Regions then ask for themselves.
      poll: async (ask) => { await ask(PULSE); fire(); },
    });
  }

  window.HoldfastLive = Object.freeze({ connect, ask, busy, selectedIn, ANSWER });
  if (regions().length) lists();
})();
