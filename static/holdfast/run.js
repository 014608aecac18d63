// The page of one run: what the websocket tells goes to the waterfall, the snapshots, the log and the summary.
(() => {
  "use strict";
  const page = document.getElementById("run");
  const id = page.dataset.run;
  const FINAL = ["completed", "failed", "cancelled", "expired", "timed_out", "crashed", "unknown"];

  const log = HoldfastLog.attach(document.getElementById("log"), lines);
  const steps = new HoldfastSteps.Steps(page.dataset.stepsUrl, () => draw());
  const snapshots = new HoldfastSnapshots.Snapshots(steps, `${page.dataset.pageUrl}snapshots/`);
  const waterfall = new HoldfastWaterfall.Waterfall(document.getElementById("waterfall"), (sequence) => snapshots.open(sequence));
  const streams = HoldfastStreams.attach(document.getElementById("streams"));
  const state = { drawn: null, after: null, chunks: null, snapshots: "last", run: null, attempts: new Map(), skew: 0 };

  function message(data) {
    if (data.type === "hello") hello(data);
    else if (data.type === "run") setRun(data.run);
    else if (data.type === "attempts") addAttempts(data);
    else if (data.type === "steps") begin(data);
    else if (data.type === "snapshots") addSnapshots(data);
    else if (data.type === "logs") addLines(data);
    else if (data.type === "chunks") addChunks(data);
    if (data.type !== "beat") draw();
  }

  function hello(data) {
    state.after = later(state.after, data.after);
    log.hello(data);
  }

  function addAttempts(data) {
    for (const attempt of data.items) {
      state.attempts.set(attempt.number, attempt);
      log.offerAttempt(attempt.number);
    }
  }

  // Where polling and a new websocket overlap, what is told twice does not lead back.
  const later = (known, next) => (typeof known === "number" ? Math.max(known, next) : next);

  function setRun(run) {
    state.run = run;
    streams.tell(run.status);
    const now = JSON.stringify([
      run.status, run.attempt, run.next_at, run.error_message, run.waits_for, run.waits_since, run.spending, run.progress, run.stuck,
    ]);
    const first = state.drawn === null;
    if (state.drawn === now) return;
    state.drawn = now;
    // What it waits for, has used and has come to is not told by the status: whether that is as rendered is asked once.
    const { statusNow, attemptNow } = document.getElementById("run-summary").dataset;
    const asRendered = statusNow === run.status && attemptNow === String(run.attempt);
    const bare = run.waits_for === null && run.spending === "" && run.progress === null && run.stuck === null;
    if (!first || !asRendered || !bare) refresh();
  }

  // The summary, the buttons and the result are the server's to draw. A question that is being answered ("cancel this run?")
  // or text that is selected is not swept away, and a summary that is being replaced does not hear that it should ask again:
  // both are waited for. What could not be fetched is asked for again, unless it is refused.
  const ANSWERING = ["actions", "waits", "usage"].map((part) => `#run-${part} details.confirm[open]`).join();
  const AGAIN = 200, FIRST_RETRY = 1000, LAST_RETRY = 15000; // milliseconds
  const REFUSED = [403, 404];
  const summary = () => document.getElementById("run-summary"), asks = () => HoldfastLive.busy(summary());
  const askedBy = (event) => event.detail.requestConfig?.elt?.id;
  const inUse = () => document.querySelector(ANSWERING) !== null || HoldfastLive.selectedIn(summary());
  let due = 0, missed = 0; // requests in a row that brought nothing
  function refresh() {
    clearTimeout(due);
    const free = !asks() && !inUse();
    if (free) tell("run");
    if (!free || !asks()) due = setTimeout(refresh, AGAIN);
  }
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (askedBy(event) !== "run-summary" || !inUse()) return;
    event.detail.shouldSwap = false;
    refresh();
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    if (askedBy(event) !== "run-summary") return;
    missed = event.detail.successful ? 0 : missed + 1;
    if (!missed || REFUSED.includes(event.detail.xhr?.status)) return;
    clearTimeout(due);
    due = setTimeout(refresh, Math.min(LAST_RETRY, FIRST_RETRY * 2 ** (missed - 1)));
  });

  // What a reader has unfolded in the summary, and how far down the children they are, is so after a redraw too.
  const foldsIn = (part) => new Map([...part.querySelectorAll("details")].map((fold) => [fold.querySelector("summary")?.textContent, fold]));
  const scroller = () => document.querySelector("#run-children .children-scroll");
  let unfolded = [], down = 0;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (askedBy(event) === "run-summary") unfolded = [...foldsIn(summary())].filter(([, fold]) => fold.open).map(([name]) => name);
    down = askedBy(event) === "run-children" ? scroller()?.scrollTop ?? 0 : 0;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (askedBy(event) === "run-children" && scroller()) scroller().scrollTop = down;
    if (askedBy(event) !== "run-summary") return;
    const folds = foldsIn(summary());
    for (const name of unfolded) if (folds.has(name)) folds.get(name).open = true;
  });
  // The summary brings the first children; whoever looks at a page of them is not led back: that page asks for itself.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (!event.detail.target.matches("#run-children[data-children]")) return;
    event.detail.shouldSwap = false;
    owed = true;
    askChildren();
  });

  function addLines(data) {
    state.after = later(state.after, data.next);
    log.append(data.items);
  }

  function addChunks(data) {
    const fresh = data.items.filter((chunk) => chunk.sequence > (state.chunks ?? 0));
    state.chunks = later(state.chunks, data.next);
    streams.add(fresh, data.earlier);
  }

  // The log -----------------------------------------------------------------------------------------------------------
  async function lines(query) {
    const signal = AbortSignal.timeout(HoldfastLive.ANSWER);
    const answer = await fetch(`${page.dataset.pageUrl}log/lines/?${new URLSearchParams(query)}`, { headers: { Accept: "application/json" }, signal });
    if (answer.status === 422) throw Object.assign(new Error((await answer.json()).message), { refused: true });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return answer.json();
  }

  // Its filters stand in the address, under the names that the API has for them: what is shown is a link.
  const FILTERS = ["q", "level", "step", "attempt"];
  const wantedLines = () => {
    const params = new URLSearchParams(location.search);
    return Object.fromEntries(FILTERS.map((name) => [name, (params.get(name) ?? "").trim()]).filter(([, value]) => value));
  };
  log.chosen = (query) => {
    const address = new URL(location.href);
    for (const name of FILTERS) address.searchParams.delete(name);
    for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  };
  log.choose(wantedLines());
  window.addEventListener("popstate", () => { // back to a line that was looked at with other filters
    if (JSON.stringify(wantedLines()) === JSON.stringify(log.query)) return;
    log.choose(wantedLines());
    log.filter();
  });

  // A link to a line: #line-N.
  function toLine() {
    const found = /^#line-(\d{1,15})$/.exec(location.hash);
    if (found) log.open(Number(found[1]));
    return found !== null;
  }
  const toLog = () => document.getElementById("log").scrollIntoView({ block: "nearest" });
  window.addEventListener("hashchange", () => { if (toLine()) toLog(); });
  if (toLine()) toLog();
  else if (log.filtered) {
    log.filter();
    toLog();
  }

  // Steps -------------------------------------------------------------------------------------------------------------
  function begin(data) {
    state.snapshots = later(state.snapshots, data.after);
    steps.begin(data.after);
  }

  function addSnapshots(data) {
    const fresh = data.items.filter((s) => !steps.held.has(s.sequence));
    state.snapshots = later(state.snapshots, data.next);
    steps.add(fresh);
    snapshots.add(fresh);
    if (fresh.some((s) => s.key?.startsWith("reply:"))) tell("updates");
  }

  const ways = document.getElementById("steps-ways"), failure = document.getElementById("steps-failure");
  ways.addEventListener("submit", (event) => {
    event.preventDefault();
    waterfall.reveal(Number(new FormData(ways).get("step")));
  });
  let failures = 0;
  failure.addEventListener("click", () => {
    const known = steps.overview?.failures ?? [];
    if (known.length) waterfall.reveal(known[failures++ % known.length]);
  });

  // Drawing -----------------------------------------------------------------------------------------------------------
  function draw() {
    if (!state.run) return;
    const attempts = [...state.attempts.values()].sort((a, b) => a.number - b.number);
    waterfall.set(state.run, attempts, steps, Date.now() + state.skew);
    ways.hidden = steps.whole;
    ways.elements.step.max = steps.last;
    failure.hidden = !steps.overview?.failed;
    if (!failure.hidden) failure.textContent = `Next of ${steps.overview.failed.toLocaleString("en")} failed tr${steps.overview.failed === 1 ? "y" : "ies"}`;
    if (!steps.whole && !steps.overview) return; // their number is not known yet
    const done = steps.finished;
    document.getElementById("steps-count").textContent = `${attempts.length} attempt${attempts.length === 1 ? "" : "s"}, ${done.toLocaleString("en")} step${done === 1 ? "" : "s"} finished`;
  }
  setInterval(() => { if (state.run && !FINAL.includes(state.run.status) && !document.hidden && !Holdfast.live.paused) draw(); }, 500);

  // Children come and go without a word to their parent's page, also after it has ended, and so do answers to updates: it
  // asks, while there is something that may still change.
  const tell = (what) => document.body.dispatchEvent(new CustomEvent(`holdfast:${what}`));
  let owed = false; // the run has changed, so there may be others
  function askChildren() {
    const children = document.getElementById("run-children"), over = state.run && FINAL.includes(state.run.status);
    const may = owed || "unfinished" in children.dataset || ("children" in children.dataset && !over);
    const asking = HoldfastLive.busy(children) || children.querySelector(".htmx-request");
    if (!may || asking || HoldfastLive.selectedIn(children)) return;
    owed = false;
    tell("children");
  }
  setInterval(() => {
    if (!state.run || document.hidden || Holdfast.live.paused) return;
    askChildren();
    if (document.querySelector("#run-updates [data-unanswered]")) tell("updates");
  }, 3000);

  // Connection --------------------------------------------------------------------------------------------------------
  const cursors = () => {
    const known = { after: state.after, snapshots: steps.cursor(state.snapshots), chunks: state.chunks };
    return new URLSearchParams(Object.entries(known).filter(([, sequence]) => sequence !== null)).toString();
  };
  async function poll(ask) {
    for (let more = true; more; ) {
      const data = await ask(`${page.dataset.liveUrl}?${cursors()}`);
      data.messages.forEach(message);
      more = data.more;
    }
  }
  window.HoldfastRun = Object.freeze({ steps });
  HoldfastLive.connect({ address: () => `/ws/runs/${id}?${cursors()}`, message, poll });
})();
