// Log viewer. Lines are kept in memory; only the rows in sight are in the document, so 100,000 lines do not freeze it.
// Lines come in by append(); their sequence makes a line that arrives twice appear once.
(() => {
  "use strict";
  const ROW = 20; // pixels; --row in tokens.css
  const OVERSCAN = 20;
  const KEEP = 50000, KEEP_TEXT = 32 << 20; // lines and characters held; beyond that the oldest quarter goes
  const STEPS = 200; // offered in the choice of steps; searching finds the others
  const LEVELS = ["debug", "info", "warning", "error", "critical"];
  const ANSI = /\u001b\[([0-9;]*)m/g;
  const OTHER_ESCAPES = /\u001b(?:\[[0-9;?]*[A-Za-ln-z]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g;

  const levelName = (level) => (typeof level === "number" ? LEVELS[Math.min(4, Math.max(0, Math.floor(level / 10) - 1))] : level);
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Colours that programs print for terminals; anything else of that kind is dropped.
  function colour(into, message) {
    const text = Holdfast.inert(message.replace(OTHER_ESCAPES, ""));
    let from = 0, classes = new Set();
    const flush = (to) => {
      if (to > from) into.append(classes.size ? make("span", [...classes].join(" "), text.slice(from, to)) : text.slice(from, to));
    };
    for (const match of text.matchAll(ANSI)) {
      flush(match.index);
      from = match.index + match[0].length;
      for (const code of (match[1] || "0").split(";").map(Number)) {
        if (code === 0) classes = new Set();
        else if (code === 1) classes.add("ansi-bold");
        else if (code === 2) classes.add("ansi-dim");
        else if (code === 4) classes.add("ansi-underline");
        else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97) || code === 39) {
          for (const c of [...classes]) if (/^ansi-\d/.test(c)) classes.delete(c);
          if (code !== 39) classes.add(`ansi-${(code % 10) + 30}`);
        }
      }
    }
    flush(text.length);
  }

  class LogView {
    constructor(element) {
      this.element = element;
      this.lines = [];
      this.shown = []; // indexes into lines that pass the filters
      this.seen = new Set();
      this.text = 0; // characters
      this.dropped = 0;
      this.following = true;
      this.build();
      this.draw();
    }

    build() {
      const bar = make("div", "bar");
      this.search = make("input", "input");
      Object.assign(this.search, { type: "search", placeholder: "Search the log" });
      this.search.setAttribute("aria-label", "Search the log");
      this.level = make("select", "input");
      this.level.setAttribute("aria-label", "Lowest level");
      LEVELS.forEach((name, index) => this.level.append(new Option(index ? `${name} and above` : "all levels", String(index))));
      this.step = make("select", "input");
      this.step.setAttribute("aria-label", "Step");
      this.step.append(new Option("all steps", ""));
      this.step.hidden = true;
      this.steps = new Set();
      const follow = make("label", "check");
      this.follow = make("input");
      Object.assign(this.follow, { type: "checkbox", checked: true });
      follow.append(this.follow, "Follow");
      bar.append(this.search, this.level, this.step, follow);
      if (this.element.dataset.download) {
        const link = make("a", "button small", "Download");
        link.href = this.element.dataset.download;
        bar.append(link);
      }
      this.scroller = make("div", "lines");
      this.scroller.tabIndex = 0;
      this.scroller.setAttribute("role", "region");
      this.scroller.setAttribute("aria-label", "Log lines");
      this.canvas = make("div", "canvas");
      this.window = make("div", "window");
      this.none = make("p", "none", this.element.dataset.empty || "Nothing has been logged yet.");
      this.canvas.append(this.window);
      this.scroller.append(this.none, this.canvas);
      this.foot = make("div", "foot");
      this.element.replaceChildren(bar, this.scroller, this.foot);

      this.search.addEventListener("input", () => this.filter());
      this.level.addEventListener("change", () => this.filter());
      this.step.addEventListener("change", () => this.filter());
      this.follow.addEventListener("change", () => { this.following = this.follow.checked; this.draw(); });
      this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
      new ResizeObserver(() => this.draw()).observe(this.scroller);
    }

    append(lines) {
      let sorted = true;
      for (const line of lines) {
        if (line.sequence !== undefined && this.seen.has(line.sequence)) continue;
        this.seen.add(line.sequence);
        this.text += String(line.message).length;
        if (line.step) this.offer(line.step);
        const last = this.lines.at(-1);
        if (last && line.sequence < last.sequence) sorted = false;
        this.lines.push({ ...line, level: levelName(line.level), rows: String(line.message).split("\n") });
      }
      if (!sorted) this.lines.sort((a, b) => a.sequence - b.sequence);
      if (this.letGo() || !sorted) this.filter();
      else this.admit(this.done ?? 0);
      this.plan();
    }

    // A run that never stops talking must not fill the browser's memory.
    letGo() {
      if (this.lines.length <= KEEP && this.text <= KEEP_TEXT) return false;
      while (this.lines.length > KEEP * 0.75 || this.text > KEEP_TEXT * 0.75) {
        const gone = this.lines.splice(0, Math.max(1, Math.floor(this.lines.length / 4)));
        for (const line of gone) { this.text -= String(line.message).length; this.seen.delete(line.sequence); }
        this.dropped += gone.length;
      }
      return true;
    }

    offer(step) {
      if (this.steps.has(step) || this.steps.size >= STEPS) return;
      this.steps.add(step);
      this.step.append(new Option(step, step));
      this.step.hidden = false;
    }

    get lastSequence() { return this.lines.at(-1)?.sequence ?? 0; }

    // Rows of one height each: a message of many lines takes as many rows.
    admit(from) {
      const lowest = Number(this.level.value), step = this.step.value, wanted = this.search.value.toLowerCase();
      for (let i = from; i < this.lines.length; i++) {
        const line = this.lines[i];
        if (LEVELS.indexOf(line.level) < lowest || (step && line.step !== step)) continue;
        if (wanted && !`${line.message} ${line.step ?? ""} ${line.fields ? JSON.stringify(line.fields) : ""}`.toLowerCase().includes(wanted)) continue;
        for (let part = 0; part < line.rows.length; part++) this.shown.push([i, part]);
      }
      this.done = this.lines.length;
    }

    filter() {
      this.shown = [];
      this.admit(0);
      this.draw();
    }

    plan() {
      if (this.planned) return;
      this.planned = true;
      requestAnimationFrame(() => { this.planned = false; this.draw(); });
    }

    scrolled() {
      const fromEnd = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
      const atEnd = fromEnd < ROW;
      if (atEnd !== this.following && !this.drawing) this.following = this.follow.checked = atEnd;
      this.plan();
    }

    draw() {
      this.drawing = true;
      this.none.hidden = this.lines.length > 0;
      this.canvas.style.height = `${this.shown.length * ROW}px`;
      if (this.following) this.scroller.scrollTop = this.shown.length * ROW;
      const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - OVERSCAN);
      const last = Math.min(this.shown.length, first + Math.ceil(this.scroller.clientHeight / ROW) + 2 * OVERSCAN);
      this.window.style.top = `${first * ROW}px`;
      this.window.replaceChildren(...this.shown.slice(first, last).map(([i, part]) => this.row(this.lines[i], part)));
      const hidden = this.lines.length && !this.shown.length ? "No line fits. " : "";
      const dropped = this.dropped ? `${this.dropped.toLocaleString("en")} older lines let go, see the download · ` : "";
      this.foot.textContent = `${dropped}${hidden}${this.lines.length.toLocaleString("en")} line${this.lines.length === 1 ? "" : "s"}`;
      requestAnimationFrame(() => { this.drawing = false; });
    }

    row(line, part) {
      const row = make("div", "line"), text = make("span", "text");
      row.dataset.level = line.level;
      const time = make("time", "", part ? "             " : Holdfast.clock(line.at));
      if (!part) Object.assign(time, { dateTime: line.at, title: line.at });
      colour(text, line.rows[part]);
      if (line.fields && part === line.rows.length - 1) {
        const pairs = Object.entries(line.fields).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`);
        text.append(make("span", "extra", Holdfast.inert(` ${pairs.join(" ")}`)));
      }
      const where = line.step ? `${line.attempt}·${line.step}` : `attempt ${line.attempt ?? "–"}`;
      row.append(time, make("span", "level", part ? "" : line.level), make("span", "where", part ? "" : where), text);
      return row;
    }
  }

  const views = new WeakMap();
  window.HoldfastLog = Object.freeze({
    attach(element) {
      if (!views.has(element)) views.set(element, new LogView(element));
      return views.get(element);
    },
  });
})();
