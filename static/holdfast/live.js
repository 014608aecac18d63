// Keeps a page current. One websocket; when it cannot be had, polling tells the same. Nothing moves while the person
// has paused it, the tab is hidden, text or rows are selected, or something in the part to be replaced is being filled in.
(() => {
  "use strict";
  const FIRST_RETRY = 500, LAST_RETRY = 15000; // milliseconds
  const POLL = 2000, LIST_PACE = 1000, CHART_PACE = 15000, HELD_LOOK = 500;
  const REFUSED = [4403, 4404]; // closed for good: not allowed, or no such run

  // connect({ address(), message(data), poll() }): address() gives the path with the cursors to resume from.
  function connect({ address, message, poll }) {
    let socket = null, tries = 0, opened = false, timer = 0, polling = 0, over = false;

    function open() {
      timer = 0;
      if (over || socket || idle()) return;
      const scheme = location.protocol === "https:" ? "wss:" : "ws:";
      socket = new WebSocket(`${scheme}//${location.host}${address()}`);
      socket.addEventListener("open", () => { opened = true; tries = 0; stopPolling(); Holdfast.live.beat(); });
      socket.addEventListener("message", (event) => {
        Holdfast.live.beat();
        const data = JSON.parse(event.data);
        if (data.v === 1) message(data);
      });
      socket.addEventListener("close", (event) => closed(event.code));
    }

    function closed(code) {
      socket = null;
      if (idle()) return;
      Holdfast.live.lost();
      if (REFUSED.includes(code)) { over = true; return; }
      tries += 1;
      // Never opened: something on the way does not let websockets through. Poll, and try again now and then.
      if (!opened && tries >= 2) startPolling();
      const wait = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** Math.min(tries - 1, 10));
      timer = setTimeout(open, wait * (0.5 + Math.random() / 2));
    }

    async function pollOnce() {
      polling = 0;
      if (over || idle() || socket?.readyState === WebSocket.OPEN) return;
      try {
        await poll();
        Holdfast.live.beat();
      } catch {
        Holdfast.live.lost();
      }
      startPolling();
    }
    function startPolling() { polling ||= setTimeout(pollOnce, POLL); }
    function stopPolling() { clearTimeout(polling); polling = 0; }

    const idle = () => Holdfast.live.paused || document.hidden;
    function changed() {
      if (idle()) {
        clearTimeout(timer);
        timer = 0;
        stopPolling();
        socket?.close(1000);
      } else if (!socket && !timer) {
        tries = 0;
        open();
        if (!opened) startPolling();
      }
    }
    document.addEventListener("visibilitychange", changed);
    window.addEventListener("holdfast:live", changed);
    window.addEventListener("pagehide", () => { over = true; socket?.close(1000); });
    window.addEventListener("pageshow", (event) => { if (event.persisted) { over = false; changed(); } });
    open();
  }

  // Lists: "changed" becomes `holdfast:changed` on the body, on which regions ask for themselves again. ---------------
  const regions = () => [...document.querySelectorAll('[hx-trigger*="holdfast:changed"]')];

  function held() {
    if (document.hidden || Holdfast.live.paused) return true;
    const selection = document.getSelection();
    return regions().some((region) => {
      if (selection && !selection.isCollapsed && region.contains(selection.anchorNode)) return true;
      if (region.querySelector("details.confirm[open], details.look[open], [data-looked], [data-question], .pick input:checked")) return true;
      const focused = document.activeElement;
      return focused && region.contains(focused) && focused.matches("input:not(.pick input), select, textarea");
    });
  }

  let waiting = false, firedAt = 0, chartsAt = performance.now();
  function fire() {
    waiting = true;
    const wait = Math.max(0, LIST_PACE - (performance.now() - firedAt));
    setTimeout(function go() {
      if (!waiting) return;
      if (held()) { setTimeout(go, HELD_LOOK); return; }
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
    for (const chart of document.querySelectorAll("[data-chart]:not([data-state])")) HoldfastChart.refresh(chart);
  }

  function lists() {
    connect({
      address: () => "/ws/lists",
      message: (data) => { if (data.type === "changed") fire(); },
      poll: async () => fire(),
    });
  }

  // A filter applies as soon as it is chosen.
  document.addEventListener("change", (event) => {
    if (event.target.matches("form[data-submits] select")) event.target.form.requestSubmit();
  });

  window.HoldfastLive = Object.freeze({ connect });
  if (regions().length) lists();
})();
