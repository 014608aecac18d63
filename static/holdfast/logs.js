// Log viewer. The browser holds a few thousand lines (logblock.js) and only the rows in sight are in the document. What
// comes in sight is asked for, a page at a time, and filters are served where all lines are. Lines that are told come in
// by append(); a line that arrives twice appears once. source(query) gives a page: a promise of {items, first, last,
// earlier, later, here}. Whoever keeps the filters elsewhere sets them by choose(), and is told of others by `chosen`.
(() => {
  "use strict";
  const ROW = 20; // pixels; --row in tokens.css
  const OVERSCAN = 20;
  const NEAR = 200; // rows from the end of what is held at which more is asked for
  const FAR = 1500; // rows beyond it from which on the place itself is asked for
  const PAD = 1000, MOST_ROWS = 400000; // rows that stand for lines that are not here
  const EXACT = 10000; // as queues.selectors.EXACT_UP_TO
  const STEPS = 200, ATTEMPTS = 200; // offered as choices
  const PACE = 500, TYPING = 200, AGAIN = 2000; // milliseconds
  const { LEVELS, make } = HoldfastLogText;
  const number = (n) => n.toLocaleString("en");
  const plural = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

  class LogView {
    constructor(element, source = null) {
      this.element = element;
      this.source = source;
      this.block = new HoldfastLogBlock.Block();
      this.nodes = new Map();
      this.following = true;
      this.turn = 0; // what was asked for in an earlier one is not wanted any more
      this.loading = new Set();
      this.wait = 0; // until when nothing is asked for after a failure, or at the pace of what arrives
      this.before = this.told = this.newest = this.begin = 0; // lines before the told ones, told ones; last and first sequence
      this.density = 1; // lines per sequence
      this.put = 0; // where the sight was put last, in pixels
      this.marked = null;
      this.note = "";
      this.fault = ""; // what was wrong with filters that came from elsewhere, until others are chosen
      this.chosen = null;
      this.build();
      this.draw();
    }

    get lines() { return this.block.lines; }

    build() {
      const bar = make("div", "bar");
      this.search = this.field("input", "Search the log", { type: "search", placeholder: "Search all lines", maxLength: 200 });
      this.level = this.field("select", "Lowest level");
      LEVELS.forEach((name, index) => this.level.append(new Option(index ? `${name} and above` : "all levels", index ? name : "")));
      this.step = this.field("input", "Step", { type: "text", placeholder: "all steps", maxLength: 200, className: "input step" });
      this.steps = make("datalist");
      this.steps.id = `${this.element.id}-steps`;
      this.step.setAttribute("list", this.steps.id);
      this.attempt = this.field("select", "Attempt");
      this.attempt.append(new Option("all attempts", ""));
      this.attempt.hidden = true;
      this.offered = new Set();
      this.attempts = new Set();
      const follow = make("label", "check");
      this.follow = make("input");
      Object.assign(this.follow, { type: "checkbox", checked: true });
      follow.append(this.follow, "Follow");
      bar.append(this.search, this.level, this.step, this.steps, this.attempt, follow, this.ways());
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

      for (const field of [this.search, this.step]) field.addEventListener("input", () => this.filterSoon());
      for (const field of [this.level, this.attempt]) field.addEventListener("change", () => this.refilter());
      this.follow.addEventListener("change", () => this.setFollowing(this.follow.checked));
      this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
      new ResizeObserver(() => this.draw()).observe(this.scroller);
    }

    field(tag, label, more = {}) {
      const element = make(tag, "input");
      Object.assign(element, more);
      element.setAttribute("aria-label", label);
      return element;
    }

    ways() {
      const form = make("form", "ways"), button = (text, act) => {
        const made = Object.assign(make("button", "button small", text), { type: "button" });
        made.addEventListener("click", act);
        return made;
      };
      this.goal = this.field("input", "Go to a time or line", { type: "text", placeholder: "time or line", maxLength: 40, required: true });
      this.goal.addEventListener("input", () => this.goal.setCustomValidity(""));
      form.append(this.goal, make("button", "button small", "Go"), button("First", () => this.toFirst()), button("Last", () => this.setFollowing(true)));
      form.addEventListener("submit", (event) => { event.preventDefault(); this.go(this.goal.value.trim()); });
      form.hidden = !this.source;
      return form;
    }

    // What is told -----------------------------------------------------------------------------------------------------
    // The first word of the stream: lines up to `after` are not told, `lines` of them were counted, from `first` on.
    hello({ after, earlier, first, lines }) {
      this.before = lines ?? 0;
      this.begin = first ?? 0;
      this.newest = Math.max(this.newest, after);
      if (this.lines.length || this.loading.size || this.turn) return; // the reader is somewhere else already
      this.block.reset({ first: after + 1, last: after, earlier });
      this.settle();
    }

    append(items) {
      const fresh = items.filter((line) => line.sequence > this.newest);
      if (!fresh.length) return;
      // What is held goes on without a gap where nothing that was told before is missing from it.
      const atEnd = !this.block.later && this.block.last >= this.newest && !this.loading.has("jump") && !this.filtered;
      this.told += fresh.length;
      this.newest = fresh.at(-1).sequence;
      this.begin ||= fresh[0].sequence;
      for (const line of fresh) this.offer(line);
      if (atEnd) {
        this.block.append(fresh.filter((line) => line.sequence > this.block.last));
        this.block.first ||= fresh[0].sequence;
        this.block.last = Math.max(this.block.last, this.newest);
        this.trim();
        this.learn();
      } else this.block.later = true;
      this.plan();
    }

    offer({ step, attempt }) {
      if (step && !this.offered.has(step) && this.offered.size < STEPS) {
        this.offered.add(step);
        this.steps.append(new Option(step, step));
      }
      if (attempt !== undefined && attempt !== null) this.offerAttempt(attempt);
    }

    offerAttempt(attempt) {
      if (this.attempts.has(attempt) || this.attempts.size >= ATTEMPTS) return;
      this.attempts.add(attempt);
      this.attempt.append(new Option(`attempt ${attempt}`, attempt));
      this.attempt.hidden = this.attempts.size < 2 && !this.attempt.value;
    }

    // Lines per sequence: those of other runs lie between.
    learn() {
      const { lines, first, last } = this.block;
      if (!this.filtered && lines.length >= NEAR) this.density = Math.min(1, lines.length / (last - first + 1));
    }

    get total() {
      if (this.before <= EXACT) return this.before + this.told;
      return Math.max(EXACT + this.told, Math.round((this.newest - this.begin + 1) * this.density));
    }

    // What is asked for ------------------------------------------------------------------------------------------------
    get query() {
      const wanted = { q: this.search.value.trim(), level: this.level.value, step: this.step.value.trim(), attempt: this.attempt.value };
      return Object.fromEntries(Object.entries(wanted).filter(([, value]) => value !== ""));
    }
    get filtered() { return Object.keys(this.query).length > 0; }

    // Sets filters, named as in `query`; those that are not given are cleared. Nothing is asked for. A level or an attempt
    // that there cannot be is left out, and the foot says so; what is wrong with a text is the source's to say.
    choose({ q = "", level = "", step = "", attempt = "" } = {}) {
      const faults = [], known = LEVELS.includes(level), whole = /^\d{1,9}$/.test(attempt);
      if (level && !known) faults.push(`There is no level ${JSON.stringify(level.slice(0, 40))}: all levels are shown. `);
      if (attempt && !whole) faults.push(`Attempt ${JSON.stringify(attempt.slice(0, 40))} is no number: all attempts are shown. `);
      if (whole) this.offerAttempt(Number(attempt));
      this.search.value = q;
      this.step.value = step;
      this.level.value = known && level !== LEVELS[0] ? level : "";
      this.attempt.value = whole ? String(Number(attempt)) : "";
      if (this.attempt.selectedIndex < 0) this.attempt.value = "";
      this.attempt.hidden = this.attempts.size < 2 && !this.attempt.value;
      this.fault = faults.join("");
      this.chosen?.(this.query);
      this.tell();
    }

    async ask(kind, place, then, again = () => this.plan()) {
      if (!this.source || this.loading.has(kind) || this.loading.has("jump")) return;
      const turn = this.turn;
      this.loading.add(kind);
      this.tell();
      try {
        const page = await this.source({ ...this.query, ...place });
        if (turn !== this.turn) return;
        this.loading.delete(kind);
        this.note = "";
        for (const line of page.items) this.offer(line);
        then(page);
        this.learn();
      } catch (error) {
        if (turn !== this.turn) return;
        this.note = error.refused ? `${error.message} ` : "Lines could not be loaded; trying again. ";
        this.wait = error.refused ? Infinity : performance.now() + AGAIN;
        // Until a jump has come what is held is of another place, or of other filters: it counts as being on its way.
        if (error.refused || kind !== "jump") this.loading.delete(kind);
        if (!error.refused) setTimeout(() => { if (turn === this.turn) again(); }, AGAIN);
      }
      this.draw();
    }

    loadBefore() {
      const edge = this.block.first;
      this.ask("before", { before: edge }, (page) => {
        if (this.block.first !== edge) return; // lines have been let go meanwhile
        this.block.prepend(page.items);
        this.block.first = page.first;
        this.block.earlier = page.earlier;
        this.block.trim(true);
      });
    }

    loadAfter() {
      this.wait = this.filtered ? performance.now() + PACE : 0;
      const edge = this.block.last;
      this.ask("after", { after: edge }, (page) => {
        if (this.block.last !== edge) return;
        this.block.append(page.items);
        this.block.last = page.last;
        // What was told while the page was on its way may not be on it.
        this.block.later = page.later || this.newest > page.last;
        this.trim();
      });
      if (this.wait) setTimeout(() => this.plan(), PACE);
    }

    // Leaves what is held for another place. `settle` puts the new one under the reader's eyes.
    jump(place, settle) {
      this.turn += 1;
      this.wait = 0;
      this.loading.clear();
      this.ask("jump", place, (page) => {
        this.block.reset({ ...page, later: page.later || this.newest > page.last });
        settle(page);
      }, () => this.jump(place, settle));
      this.plan();
    }

    trim() { this.block.trim(!this.following && this.top - this.block.base < this.block.rows.length / 2); }

    // Ways -------------------------------------------------------------------------------------------------------------
    setFollowing(following) {
      this.following = this.follow.checked = following;
      if (following && this.block.later && this.source) this.jump({}, () => this.settle());
      else this.draw();
    }

    stay() { this.following = this.follow.checked = false; }

    toFirst() {
      this.stay();
      if (!this.block.earlier) return this.show(0);
      this.jump({ after: 0 }, () => { this.block.earlier = false; this.show(0); });
    }

    // A line by its sequence: its link leads here.
    open(sequence) {
      this.stay();
      this.marked = sequence;
      if (this.block.has(sequence)) return this.reveal(sequence);
      this.jump({ around: sequence }, () => {
        if (this.filtered && !this.block.has(sequence)) { // a line that does not fit is looked for among all
          this.choose();
          return this.open(sequence);
        }
        this.settle(sequence);
        if (!this.block.has(sequence)) this.note = `Line ${sequence} is not in this log, or no longer; this is where it would be. `;
      });
    }

    reveal(sequence) {
      const row = this.block.rowOf(sequence) + this.block.base, top = this.scroller.scrollTop / ROW;
      if (row < top || row + 1 > top + this.high) this.scroller.scrollTop = (row - Math.floor(this.high / 2)) * ROW;
      this.draw();
    }

    go(text) {
      if (/^\d{1,18}$/.test(text)) {
        if (location.hash === `#line-${text}`) this.open(Number(text));
        else location.hash = `line-${text}`;
        return;
      }
      const at = this.timeOf(text);
      if (!at) {
        this.goal.setCustomValidity("Write a time like 12:03:11, or the number of a line.");
        this.goal.reportValidity();
        return;
      }
      this.stay();
      this.jump({ at: at.toISOString() }, (page) => { this.marked = this.block.rows[this.block.rowOf(page.here)]?.[0].sequence ?? null; this.settle(page.here); });
    }

    // A time of the day is that of the day in sight, and UTC as the lines' own.
    timeOf(text) {
      const clock = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?Z?$/.exec(text);
      if (!clock) return /\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(Date.parse(text)) ? new Date(text) : null;
      const [, hours, minutes, seconds = 0, part = "0"] = clock, day = new Date(this.inSight()?.at ?? Date.now());
      day.setUTCHours(Number(hours), Number(minutes), Number(seconds), Number(part.padEnd(3, "0")));
      return day;
    }

    inSight() { return this.block.rows[Math.min(Math.max(0, this.top - this.block.base), this.block.rows.length - 1)]?.[0]; }

    filterSoon() {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.refilter(), TYPING);
    }

    // The reader has chosen others.
    refilter() {
      this.fault = "";
      this.chosen?.(this.query);
      this.filter();
    }

    filter() {
      const here = this.following ? undefined : this.inSight()?.sequence;
      this.jump(here === undefined ? {} : { around: here }, () => this.settle(here));
    }

    // Drawing ----------------------------------------------------------------------------------------------------------
    get top() { return Math.floor(this.scroller.scrollTop / ROW); }
    get high() { return Math.ceil(this.scroller.clientHeight / ROW); }

    // Where a sequence is among all, between 0 and 1; null where that cannot be said.
    share(sequence) {
      if (this.filtered || !this.begin || this.newest <= this.begin) return null;
      return Math.min(1, Math.max(0, (sequence - this.begin) / (this.newest - this.begin)));
    }
    get guess() { return Math.min(MOST_ROWS, this.total); }

    // A block that is new finds its place among all rows, with a line in the middle of the sight, or at its end.
    settle(sequence) {
      this.estimate();
      if (sequence === undefined) this.draw();
      else this.show(this.block.base + this.block.rowOf(sequence) - Math.floor(this.high / 2));
    }

    estimate() {
      const block = this.block, share = this.share(block.first);
      block.base = block.earlier ? Math.max(PAD, share === null ? 0 : Math.round(share * this.guess)) : 0;
      block.placed = block.rows.length > 0;
    }

    show(row) {
      this.stretch();
      this.scroller.scrollTop = row * ROW;
      this.put = this.scroller.scrollTop;
      this.draw();
    }

    get rest() {
      if (this.following || !this.block.later) return 0;
      const share = this.share(this.block.last);
      return Math.max(PAD, share === null ? 0 : Math.round((1 - share) * this.guess));
    }

    stretch() { this.canvas.style.height = `${(this.block.end + this.rest) * ROW}px`; }

    plan() {
      if (this.planned) return;
      this.planned = true;
      requestAnimationFrame(() => { this.planned = false; this.draw(); });
    }

    scrolled() {
      this.judge();
      this.plan();
    }

    // The reader goes up from where the sight was put, or down to the last line. Where it was put he has not moved; and
    // when the bar below a long line goes, the sight is higher at once and still at the end.
    judge() {
      const { scrollTop, scrollHeight, clientHeight } = this.scroller, atEnd = scrollHeight - scrollTop - clientHeight < ROW;
      if (Math.abs(scrollTop - this.put) < 1) return;
      if (this.following) {
        if (!atEnd && scrollTop < this.put - ROW / 2) this.stay();
      } else if (atEnd && !this.block.later) this.following = this.follow.checked = true;
    }

    draw() {
      this.judge(); // a move of which nobody has told yet is the reader's
      this.rebase();
      this.stretch();
      if (this.following) this.scroller.scrollTop = this.block.end * ROW;
      this.put = this.scroller.scrollTop;
      const { rows, base } = this.block;
      const first = Math.max(0, this.top - OVERSCAN - base);
      const last = Math.max(first, Math.min(rows.length, this.top + this.high + OVERSCAN - base));
      this.window.style.top = `${(base + first) * ROW}px`;
      this.place(rows.slice(first, last), this.top - base - first);
      this.tell();
      this.fill();
    }

    // The estimate of the rows before was too small, or their end is known now: all moves, and the sight with it.
    rebase() {
      if (!this.block.rows.length) { this.block.base = 0; return; }
      if (!this.block.placed) this.estimate(); // its first rows have just come
      const { base, earlier } = this.block;
      const shift = !earlier ? -base : base < 1 ? PAD - base : base > 2 * MOST_ROWS ? MOST_ROWS - base : 0;
      if (!shift) return;
      const top = this.scroller.scrollTop;
      this.block.base += shift;
      this.stretch();
      this.scroller.scrollTop = top + shift * ROW;
    }

    // Rows that stay in sight stay the same elements: a selection in them, and the focus, outlive the others.
    place(rows, top) {
      const wanted = new Map(rows.map((row) => [`${row[0].sequence}:${row[1]}`, row]));
      for (const [key, node] of this.nodes) {
        if (wanted.has(key)) continue;
        if (node.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
        node.remove();
        this.nodes.delete(key);
      }
      let next = this.window.firstChild, index = 0;
      for (const [key, [line, part]] of wanted) {
        let node = this.nodes.get(key);
        if (!node) this.nodes.set(key, (node = HoldfastLogText.row(line, part)));
        if (node === next) next = next.nextSibling;
        else this.window.insertBefore(node, next);
        node.toggleAttribute("data-marked", line.sequence === this.marked);
        const link = node.querySelector("a.at");
        if (link) link.tabIndex = index === Math.max(0, top) ? 0 : -1;
        index += 1;
      }
    }

    // What is in sight, or soon will be, and is not here.
    fill() {
      if (!this.source || this.loading.has("jump")) return;
      const { block, top } = this, bottom = top + this.high;
      const away = block.rows.length && !this.following && (bottom < block.base - FAR || top > block.end + FAR);
      clearTimeout(this.landing);
      if (away && !this.filtered) { this.landing = setTimeout(() => this.land(), 100); return; }
      if (performance.now() < this.wait) return;
      if (block.earlier && top < block.base + NEAR) this.loadBefore();
      if (block.later && (this.following || bottom > block.end - NEAR)) this.loadAfter();
    }

    // The reader has dragged the bar to where no lines are: the place is asked for, and put where the bar is.
    land() {
      const top = this.top, share = Math.min(1, top / Math.max(1, this.block.end + this.rest - this.high));
      const goal = Math.round(this.begin + share * (this.newest - this.begin));
      this.jump({ around: goal }, () => {
        this.block.base = top - this.block.rowOf(goal);
        this.block.placed = true;
        this.draw();
      });
    }

    tell() {
      const { block } = this, held = block.lines.length;
      this.none.hidden = held > 0 || this.loading.size > 0 || this.total > 0;
      const all = this.before > EXACT ? `about ${number(Number(this.total.toPrecision(2)))} lines` : plural(this.total, "line");
      const busy = this.loading.size ? " · loading …" : "";
      let words = all;
      const sifted = this.filtered && !this.loading.has("jump") && this.wait !== Infinity; // else those here need not fit
      if (sifted) {
        const open = block.earlier || block.later;
        const share = open && this.newest > this.begin ? (block.last - block.first + 1) / (this.newest - this.begin + 1) : 1;
        const looked = ` in the ${Math.min(99, Math.max(1, Math.round(share * 100)))} % of the log that were looked at`;
        words = `${held ? `${plural(held, "line")} fit${held === 1 ? "s" : ""}` : "No line fits"}${open ? looked : ""} · ${all}`;
      } else if (block.earlier && !this.source) words = `${all}, older ones let go`;
      const text = `${this.fault}${this.note}${words}${busy}`;
      if (this.foot.textContent !== text) this.foot.textContent = text;
    }
  }

  const views = new WeakMap();
  window.HoldfastLog = Object.freeze({
    attach(element, source) {
      if (!views.has(element)) views.set(element, new LogView(element, source));
      return views.get(element);
    },
  });
})();
