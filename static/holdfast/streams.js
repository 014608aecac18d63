// The streams of a run on its own page: what the page's websocket tells of them. Text is drawn by stream.js.
(() => {
  "use strict";
  const FINAL = ["completed", "failed", "cancelled", "expired", "timed_out", "crashed", "unknown"];

  class Panel {
    constructor(section) {
      this.section = section;
      this.body = section.querySelector(".body");
      this.streams = new Map();
      this.ended = false;
    }

    add(chunks, earlier) {
      for (const name of earlier) this.stream(name).note.dataset.earlier = "";
      for (const chunk of chunks) {
        const stream = this.stream(chunk.stream), pre = stream.text.element;
        const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
        if (chunk.kind === "chunk" && typeof chunk.data !== "string") stream.text.append(chunk, Holdfast.inert(`${JSON.stringify(chunk.data)}\n`));
        else stream.text.add({ ...chunk, data: typeof chunk.data === "string" ? Holdfast.inert(chunk.data) : chunk.data });
        stream.closed = chunk.kind === "closed";
        stream.attempt = chunk.attempt;
        stream.moved ||= atEnd;
      }
      for (const stream of this.streams.values()) {
        if (stream.moved) stream.text.element.scrollTop = stream.text.element.scrollHeight;
        stream.moved = false;
        this.note(stream);
      }
    }

    // The run's status: a stream whose run has ended gets nothing more.
    tell(status) {
      this.ended = FINAL.includes(status);
      for (const stream of this.streams.values()) this.note(stream);
    }

    note(stream) {
      const parts = [stream.closed || this.ended ? "complete" : "live"];
      if (this.ended && !stream.closed) parts[0] = "ended with the run";
      if (stream.attempt > 1) parts.push(`attempt ${stream.attempt}`);
      if (stream.note.dataset.earlier !== undefined) parts.push("earlier text is in the API");
      stream.note.textContent = parts.join(" · ");
    }

    stream(name) {
      if (this.streams.has(name)) return this.streams.get(name);
      const make = (tag, className) => Object.assign(document.createElement(tag), { className });
      const figure = make("figure", "stream"), caption = make("figcaption", "small"), title = make("strong", "id"), note = make("span", "muted");
      const pre = make("pre", "stream-text");
      title.textContent = name;
      caption.append(title, " ", note);
      pre.tabIndex = 0;
      pre.setAttribute("role", "log");
      pre.setAttribute("aria-label", `Stream ${name}`);
      figure.dataset.stream = name;
      figure.append(caption, pre);
      this.body.append(figure);
      this.section.hidden = false;
      const found = { text: new HoldfastStream.Text(pre), note, closed: false, attempt: 1, moved: true };
      this.streams.set(name, found);
      return found;
    }
  }

  window.HoldfastStreams = Object.freeze({ attach: (section) => new Panel(section) });
})();
