// The page of one run: what the websocket tells goes to the waterfall, the snapshots, the log and the summary.
(() => {
  "use strict";
  const page = document.getElementById("run");
  const id = page.dataset.run;
  const SHOWN = 200; // snapshots in the table until all are asked for
  const FINAL = ["completed", "failed", "cancelled", "expired", "timed_out", "crashed", "unknown"];

  const log = HoldfastLog.attach(document.getElementById("log"));
  const waterfall = new HoldfastWaterfall.Waterfall(document.getElementById("waterfall"), openSnapshot);
  const table = document.getElementById("snapshots"), body = table.tBodies[0];
  const streams = HoldfastStreams.attach(document.getElementById("streams"));
  const state = { after: null, chunks: null, snapshots: 0, run: null, attempts: new Map(), steps: [], known: new Set(), all: false, skew: 0, earliest: null };

  function message(data) {
    if (data.type === "hello") hello(data);
    else if (data.type === "run") setRun(data.run);
    else if (data.type === "attempts") for (const attempt of data.items) state.attempts.set(attempt.number, attempt);
    else if (data.type === "snapshots") addSnapshots(data);
    else if (data.type === "logs") addLines(data);
    else if (data.type === "chunks") addChunks(data);
    if (data.type !== "beat") draw();
  }

  function hello(data) {
    state.after = data.after;
    if (data.earlier) offerEarlier();
  }

  function setRun(run) {
    state.run = run;
    const summary = document.getElementById("run-summary");
    streams.tell(run.status);
    const now = JSON.stringify([
      run.status, run.attempt, run.next_at, run.error_message, run.waits_for, run.spending, run.progress, run.stuck,
    ]);
    const drawn = summary.dataset.drawn ?? null;
    summary.dataset.drawn = now;
    const asRendered = summary.dataset.statusNow === run.status && summary.dataset.attemptNow === String(run.attempt);
    // What it has used is not told by the status: whether that is as rendered is asked once.
    if (drawn !== now && !(drawn === null && asRendered && run.spending === "" && run.progress === null && run.stuck === null)) refresh();
  }

  // The summary, the buttons and the result are the server's to draw.
  let asked = false, again = false;
  function refresh() {
    if (asked) { again = true; return; }
    asked = true;
    document.body.dispatchEvent(new CustomEvent("holdfast:run"));
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    // The summary itself has been replaced by now, so the event comes from elsewhere.
    if (event.detail.requestConfig?.elt?.id !== "run-summary") return;
    asked = false;
    if (again) { again = false; setTimeout(refresh, 200); }
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    // A question that is being answered ("cancel this run?") is not swept away.
    const asked_now = "#run-actions details[open], #run-waits details[open], #run-usage details[open]";
    if (event.target.id === "run-summary" && document.querySelector(asked_now)) {
      event.preventDefault();
      asked = false;
      setTimeout(refresh, 1000);
    }
  });

  function addLines(data) {
    state.after = data.next;
    state.earliest ??= data.items[0]?.sequence ?? null;
    log.append(data.items);
  }

  function addChunks(data) {
    const fresh = data.items.filter((chunk) => chunk.sequence > (state.chunks ?? 0));
    state.chunks = data.next;
    streams.add(fresh, data.earlier);
  }

  function offerEarlier() {
    if (document.getElementById("log-earlier")) return;
    const button = document.createElement("button");
    Object.assign(button, { id: "log-earlier", type: "button", className: "button small", textContent: "Load earlier lines" });
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const answer = await fetch(`${page.dataset.pageUrl}log/before/${state.earliest}/`, { headers: { Accept: "application/json" } });
        if (!answer.ok) throw new Error(String(answer.status));
        const data = await answer.json();
        state.earliest = data.items[0]?.sequence ?? state.earliest;
        log.append(data.items);
        if (!data.earlier) { button.remove(); return; }
      } catch {
        Holdfast.toast("Earlier lines could not be loaded.", "error");
      }
      button.disabled = false;
    });
    document.querySelector("#log .bar").append(button);
  }

  // Snapshots ---------------------------------------------------------------------------------------------------------
  function addSnapshots(data) {
    const fresh = data.items.filter((s) => !state.known.has(s.sequence));
    for (const s of fresh) state.known.add(s.sequence);
    state.snapshots = data.next;
    state.steps.push(...fresh);
    table.hidden = false;
    document.getElementById("snapshots-none").hidden = true;
    for (const snapshot of fresh) body.append(snapshotRow(snapshot));
    trim();
  }

  function trim() {
    const button = document.getElementById("snapshots-all");
    if (state.all) return;
    while (body.querySelectorAll("tr[data-sequence]").length > SHOWN) dropFirst();
    button.hidden = state.steps.length <= SHOWN;
    button.textContent = `Show all ${state.steps.length.toLocaleString("en")}`;
  }

  function dropFirst() {
    const first = body.firstElementChild;
    if (first.nextElementSibling?.matches(".detail")) first.nextElementSibling.remove();
    first.remove();
  }

  function showAll() {
    state.all = true;
    document.getElementById("snapshots-all").hidden = true;
    const known = new Set([...body.querySelectorAll("tr[data-sequence]")].map((row) => Number(row.dataset.sequence)));
    const missing = document.createDocumentFragment();
    for (const snapshot of state.steps) if (!known.has(snapshot.sequence)) missing.append(snapshotRow(snapshot));
    body.prepend(missing);
  }
  document.getElementById("snapshots-all").addEventListener("click", showAll);

  const KINDS = { step: "step", checkpoint: "checkpoint", wait: "wait", failure: "failed try", intent: "intent", cleared: "did not happen", handed: "handed over" };
  function snapshotRow(snapshot) {
    const row = document.createElement("tr");
    row.dataset.sequence = snapshot.sequence;
    if (snapshot.kind === "failure") row.dataset.status = "failed";
    const cell = (text, className) => {
      const td = document.createElement("td");
      td.className = className ?? "";
      td.append(text);
      row.append(td);
    };
    const open = document.createElement("button");
    Object.assign(open, { type: "button", className: "wf-open", textContent: snapshot.key || snapshot.name });
    open.setAttribute("aria-expanded", "false");
    open.addEventListener("click", () => toggle(row, open));
    const at = document.createElement("time");
    at.dateTime = snapshot.finished_at;
    at.title = snapshot.finished_at;
    at.textContent = new Date(snapshot.finished_at).toLocaleTimeString("en-GB");
    cell(String(snapshot.sequence), "num muted");
    cell(open);
    cell(KINDS[snapshot.kind] ?? snapshot.kind, "nowrap");
    cell(snapshot.attempt > 0 ? String(snapshot.attempt) : "kept", "num");
    cell(snapshot.kind === "checkpoint" ? "–" : Holdfast.duration((Date.parse(snapshot.finished_at) - Date.parse(snapshot.started_at)) / 1000), "num");
    cell(at, "nowrap");
    return row;
  }

  function toggle(row, open) {
    const detail = row.nextElementSibling;
    if (detail?.matches(".detail")) {
      detail.remove();
      open.setAttribute("aria-expanded", "false");
      return;
    }
    const made = document.createElement("tr"), cell = document.createElement("td");
    made.className = "detail";
    cell.colSpan = 6;
    cell.textContent = "Loading …";
    made.append(cell);
    row.after(made);
    open.setAttribute("aria-expanded", "true");
    htmx.ajax("GET", `${page.dataset.pageUrl}snapshots/${row.dataset.sequence}/`, { target: cell, swap: "innerHTML" });
  }

  function openSnapshot(sequence) {
    if (!body.querySelector(`tr[data-sequence="${sequence}"]`)) showAll();
    const row = body.querySelector(`tr[data-sequence="${sequence}"]`);
    const open = row.querySelector("button");
    if (open.getAttribute("aria-expanded") !== "true") toggle(row, open);
    row.scrollIntoView({ block: "nearest" });
    open.focus({ preventScroll: true });
  }

  // Drawing -----------------------------------------------------------------------------------------------------------
  function draw() {
    if (!state.run) return;
    const attempts = [...state.attempts.values()].sort((a, b) => a.number - b.number);
    waterfall.set(state.run, attempts, state.steps, Date.now() + state.skew);
    const steps = state.steps.filter((s) => s.kind === "step").length;
    document.getElementById("steps-count").textContent = `${attempts.length} attempt${attempts.length === 1 ? "" : "s"}, ${steps.toLocaleString("en")} step${steps === 1 ? "" : "s"} finished`;
  }
  setInterval(() => { if (state.run && !FINAL.includes(state.run.status) && !document.hidden && !Holdfast.live.paused) draw(); }, 500);

  // Children come and go without a word to their parent's page: it asks, while it has some.
  setInterval(() => {
    if (!document.querySelector("#run-children[data-children]") || document.hidden || Holdfast.live.paused) return;
    if (state.run && !FINAL.includes(state.run.status)) document.body.dispatchEvent(new CustomEvent("holdfast:children"));
  }, 3000);

  // Connection --------------------------------------------------------------------------------------------------------
  const cursors = () => {
    const known = { after: state.after, snapshots: state.snapshots, chunks: state.chunks };
    return new URLSearchParams(Object.entries(known).filter(([, sequence]) => sequence !== null)).toString();
  };
  async function poll() {
    for (let more = true; more; ) {
      const answer = await fetch(`${page.dataset.liveUrl}?${cursors()}`, { headers: { Accept: "application/json" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const data = await answer.json();
      data.messages.forEach(message);
      more = data.more;
    }
  }
  HoldfastLive.connect({ address: () => `/ws/runs/${id}?${cursors()}`, message, poll });
})();
