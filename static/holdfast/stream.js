// A run's stream on a page: fills each element of {% holdfast_stream %} with text as the run sends it. It needs nothing
// else of Holdfast's, touches nothing but its elements, and writes text, never markup.
//
// An element says how it stands in data-state: connecting, live, closed, ended, lost, refused. For each chunk it
// dispatches `holdfast:chunk` (detail: the chunk), so that a page can draw values that are no text itself; at the end
// `holdfast:end` (detail: {status}).
(() => {
  "use strict";
  if (window.HoldfastStream) return; // two streams on one page bring this script twice
  const MOST = 1_000_000; // characters kept on the page; older ones make room
  const FIRST_RETRY = 500, LAST_RETRY = 15_000; // milliseconds
  const PATIENCE = 15_000; // milliseconds until who has not answered is taken to give no answer
  const PASSING = [408, 425, 429]; // of the 4xx, those that say "not now"
  const NOTES = {
    connecting: "connecting …",
    live: "",
    closed: "",
    lost: "connection lost; trying again …",
    refused: "this stream can no longer be read",
  };

  // The text of one stream. Chunks of one step between two snapshots share a node, so that a restart can take back
  // what is about to be sent again: those of its step, or without a step those since its snapshot.
  class Text {
    constructor(element) {
      this.element = element;
      this.parts = [];
      this.length = 0;
    }

    add(chunk) {
      if (chunk.kind === "restart") this.forget(chunk);
      else if (chunk.kind === "chunk" && typeof chunk.data === "string") this.append(chunk, chunk.data);
    }

    append(chunk, text) {
      if (text === "") return;
      let part = this.parts.at(-1);
      if (!part || part.step !== chunk.step || part.snapshot !== chunk.snapshot) {
        part = { step: chunk.step, snapshot: chunk.snapshot, node: document.createTextNode("") };
        this.parts.push(part);
        this.element.append(part.node);
      }
      part.node.appendData(text);
      this.length += text.length;
      while (this.length > MOST && this.parts.length > 1) this.drop(this.parts.shift());
      if (this.length > MOST) {
        part.node.deleteData(0, this.length - MOST);
        this.length = MOST;
      }
    }

    forget(mark) {
      const gone = (part) => (mark.step === null ? part.snapshot >= mark.snapshot : part.step === mark.step);
      for (const part of this.parts) if (gone(part)) this.drop(part);
      this.parts = this.parts.filter((part) => !gone(part));
    }

    drop(part) {
      this.length -= part.node.length;
      part.node.remove();
    }
  }

  // What the address answers with, which an EventSource does not tell. 0: nothing.
  async function statusOf(address) {
    const asking = new AbortController(), late = setTimeout(() => asking.abort(), PATIENCE);
    try {
      const answer = await fetch(address, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: asking.signal });
      return answer.status;
    } catch {
      return 0;
    } finally {
      clearTimeout(late);
      asking.abort(); // the headers were enough: a stream would go on for as long as its run
    }
  }

  const isFinal = (status) => status >= 400 && status < 500 && !PASSING.includes(status);

  function attach(element) {
    if (element.dataset.attached !== undefined) return;
    element.dataset.attached = "";
    const text = new Text(element.querySelector("[data-text]")), note = element.querySelector("[data-note]");
    let last = 0, tries = 0;
    const say = (state, words) => {
      element.dataset.state = state;
      note.textContent = words ?? NOTES[state];
    };
    const tell = (name, detail) => element.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));

    const take = (event) => {
      const chunk = JSON.parse(event.data);
      if (chunk.sequence <= last) return;
      last = chunk.sequence;
      text.add(chunk);
      element.dataset.attempt = chunk.attempt;
      say(chunk.kind === "closed" ? "closed" : "live");
      tell("holdfast:chunk", chunk);
    };

    const open = () => {
      const address = new URL(element.dataset.holdfastStream, document.baseURI);
      if (last) address.searchParams.set("after", last); // a new EventSource knows no Last-Event-ID
      const source = new EventSource(address);
      for (const kind of ["chunk", "restart", "closed"]) source.addEventListener(kind, take);
      source.addEventListener("open", () => {
        tries = 0;
        if (element.dataset.state !== "closed") say("live");
      });
      source.addEventListener("end", (event) => {
        source.close();
        const end = JSON.parse(event.data);
        element.dataset.status = end.status;
        say("ended", end.status === "completed" ? "" : `the run has ended: ${end.status}`);
        tell("holdfast:end", end);
      });
      source.addEventListener("error", () => {
        if (!element.isConnected) return source.close(); // it was taken out of the page
        say("lost");
        // After a cut the browser comes back by itself, but never after an answer that is no stream: a proxy's 502.
        if (source.readyState === EventSource.CLOSED) recover(source.url);
      });
    };

    const recover = async (address) => {
      if (isFinal(await statusOf(address))) return say("refused");
      const wait = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** Math.min(tries++, 10));
      setTimeout(() => { if (element.isConnected) open(); }, wait * (0.5 + Math.random() / 2));
    };

    open();
  }

  const attachAll = (root) => {
    if (root.matches?.("[data-holdfast-stream]")) attach(root);
    for (const element of root.querySelectorAll?.("[data-holdfast-stream]") ?? []) attach(element);
  };
  window.HoldfastStream = Object.freeze({ Text, attach });
  attachAll(document);
  // What htmx or another script puts into the page later.
  new MutationObserver((changes) => {
    for (const change of changes) for (const node of change.addedNodes) attachAll(node);
  }).observe(document.documentElement, { childList: true, subtree: true });
})();
