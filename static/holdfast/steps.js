// What the page of a run knows of its snapshots. Of a short run all of them; of a long one those in sight, the last
// ones and an overview: the browser never holds 20,000 steps. What comes in sight is asked for, a page at a time.
(() => {
  "use strict";
  const ALL = 1000; // snapshots of a run that is held whole
  const PAGE = 200; // runs/manysteps.py
  const NEAR = 600, TAIL = 600; // kept around what is in sight, and at the end
  const GAPS = 100; // runs/live.py, MISSING
  const AGAIN = 10000; // milliseconds between two overviews of a run that goes on

  class Steps {
    constructor(address, changed) {
      this.address = address;
      this.changed = changed;
      this.held = new Map();
      this.attempts = new Map(); // number → {first, last}
      this.asked = new Map(); // page → its promise
      this.whole = true; // everything that there is is held
      this.first = 0;
      this.last = 0;
      this.finished = 0; // steps that the held ones, or the overview and those after it, amount to
      this.overview = null;
      this.overviewAt = -AGAIN;
      this.again = 0; // the timer of the next overview, where nothing else may lead to one
      this.surveyed = () => {}; // an overview has come
      this.begun = 0; // what is up to it was not told
      this.view = [0, 0];
      this.ranges = new Set(); // that are being loaded
    }

    // Those up to `after` are not told.
    begin(after) {
      if (!after) return;
      this.begun = after;
      this.whole = false;
      this.survey();
    }

    // Snapshots that were told.
    add(items) {
      const counted = this.overview?.last ?? 0;
      for (const item of items) {
        // Whether the overview has counted it already only another one can tell.
        if (item.sequence <= counted) this.surveyIn(AGAIN);
        else if (item.kind === "step" && !this.held.has(item.sequence)) this.finished += 1;
        this.hold(item);
        this.last = Math.max(this.last, item.sequence);
        this.first = this.first ? Math.min(this.first, item.sequence) : item.sequence;
        this.count(item.attempt, item.sequence, item.sequence);
      }
      if (this.whole && this.held.size > ALL) {
        this.whole = false;
        this.survey();
      }
      if (!this.whole) {
        this.letGo();
        if (performance.now() - this.overviewAt > AGAIN) this.survey();
      }
    }

    hold(item) { this.held.set(item.sequence, item); }

    count(attempt, first, last) {
      const of = this.attempts.get(attempt);
      if (!of) this.attempts.set(attempt, { first, last });
      else { of.first = Math.min(of.first, first); of.last = Math.max(of.last, last); }
    }

    // All of those that are held, in order.
    sorted() { return [...this.held.values()].sort((a, b) => a.sequence - b.sequence); }

    latest() { return this.held.get(this.last); }

    // One in sight: itself, null while it is asked for, undefined where none has this number.
    at(sequence) {
      const found = this.held.get(sequence);
      if (found) return found;
      return this.asked.get(pageOf(sequence))?.done ? undefined : null;
    }

    // What is in sight. Pages that are not here are asked for once.
    look(from, to) {
      this.view = [from, to];
      for (let page = pageOf(Math.max(1, from)); page <= pageOf(Math.min(to, this.last)); page++) {
        let missing = false;
        for (let s = Math.max(from, page * PAGE + 1); s <= Math.min(to, this.last, (page + 1) * PAGE); s++) missing ||= !this.held.has(s);
        if (missing) this.load(page).catch(() => {});
      }
    }

    // All snapshots of a range, in order: a promise.
    async range(from, to) {
      const wanted = [], range = [from, to];
      this.ranges.add(range); // the waterfall looks elsewhere meanwhile
      try {
        for (let page = pageOf(from); page <= pageOf(to); page++) if (!this.whole) wanted.push(this.load(page));
        await Promise.all(wanted);
        return this.sorted().filter((s) => s.sequence >= from && s.sequence <= to);
      } finally {
        this.ranges.delete(range);
      }
    }

    load(page) {
      let asked = this.asked.get(page);
      if (asked) return asked.answer;
      asked = { done: false };
      this.asked.set(page, asked);
      asked.answer = HoldfastLive.ask(`${this.address}?after=${page * PAGE}`).then(
        (data) => {
          asked.done = true;
          // One after the last is told yet, and is new then.
          for (const item of data.items) if (item.sequence <= this.last && !this.held.has(item.sequence)) this.hold(item);
          this.letGo();
          this.changed();
        },
        (error) => { setTimeout(() => { if (this.asked.get(page) === asked) this.asked.delete(page); this.changed(); }, 2000); throw error; },
      );
      return asked.answer;
    }

    async survey() {
      clearTimeout(this.again);
      this.again = 0;
      this.overviewAt = performance.now();
      let overview;
      try {
        overview = await HoldfastLive.ask(`${this.address}overview/`);
      } catch {
        this.surveyIn(AGAIN / 2); // of a run that is over nothing comes that would lead here
        return;
      }
      this.overview = overview;
      this.first = overview.first;
      this.last = Math.max(this.last, overview.last);
      this.finished = overview.steps;
      for (const item of this.held.values()) if (item.sequence > overview.last && item.kind === "step") this.finished += 1;
      for (const attempt of overview.attempts) this.count(attempt.number, attempt.first, attempt.last);
      this.changed();
      this.surveyed();
    }

    surveyIn(wait) { this.again ||= setTimeout(() => this.survey(), wait); }

    // The cursor that the page comes back with, when it was told up to `told`: with it the numbers below that are not here.
    // A step's own transaction may be committed after steps that have higher numbers. Those that may have been let go are
    // not among them.
    cursor(told) {
      if (typeof told !== "number") return told;
      const gaps = [];
      for (let n = told - 1; n > Math.max(this.begun, this.last - TAIL) && gaps.length < GAPS; n--) if (!this.held.has(n)) gaps.push(n);
      return [told, ...gaps].join();
    }

    letGo() {
      if (this.held.size <= ALL + PAGE) return;
      const [from, to] = this.view, tail = this.last - TAIL;
      const near = (sequence) => sequence >= from - NEAR && sequence <= to + NEAR;
      const loading = (sequence) => [...this.ranges].some(([first, last]) => sequence >= first && sequence <= last);
      for (const sequence of this.held.keys()) {
        if (sequence > tail || near(sequence) || loading(sequence)) continue;
        this.held.delete(sequence);
        this.asked.delete(pageOf(sequence));
      }
    }
  }

  const pageOf = (sequence) => Math.floor((sequence - 1) / PAGE);

  window.HoldfastSteps = Object.freeze({ Steps });
})();
