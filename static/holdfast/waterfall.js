// Attempts as lanes, their steps below them, on one time scale in which long idle gaps are folded. Rows are kept and
// updated, not rebuilt; of a long run only the rows in sight are in the document, and only the steps around them in the
// browser (steps.js), under one row that has the density of all.
(() => {
  "use strict";
  const ROW = 28, OVERSCAN = 12, ALL_AT_ONCE = 300;
  const FOLD = 0.3; // an idle gap longer than this share of the active time is folded …
  const FOLDED = 0.12; // … to this share of it
  const LABEL = 60; // pixels
  const CHARACTER = 7; // pixels of one in a label
  const NARROWEST = 0.35; // percent, so that a step of a millisecond can be seen
  const SVG = "http://www.w3.org/2000/svg";

  const ICONS = {
    step: '<circle cx="8" cy="8" r="3"/>',
    checkpoint: '<path d="M4 14V2.500h8l-2 3 2 3H4"/>',
    failure: '<path d="m4 4 8 8M12 4l-8 8"/>',
    intent: '<path d="M5.500 5.750a2.500 2.500 0 1 1 3.600 2.250C8.300 8.450 8 8.900 8 10M8 12.750v.010"/>',
    cleared: '<path d="M3.500 8h9"/>',
    handed: '<path d="M3 8h9M8.500 4.500 12 8l-3.500 3.500"/>',
    wait: '<path d="M5.500 3.500v9M10.500 3.500v9"/>',
  };

  // Segments of time in order: [from, to, folded?]. place() maps a time to percent of the width.
  function scale(start, end, busy) {
    const merged = [];
    for (const [from, to] of busy.filter(([from, to]) => to >= from).sort((a, b) => a[0] - b[0])) {
      const last = merged.at(-1);
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else merged.push([from, to]);
    }
    const active = Math.max(1, merged.reduce((sum, [from, to]) => sum + to - from, 0));
    const pieces = [];
    let at = start;
    const idle = (to) => {
      if (to > at) pieces.push({ from: at, to, width: to - at > FOLD * active ? FOLDED * active : to - at, folded: to - at > FOLD * active });
    };
    for (const [from, to] of merged) {
      idle(from);
      if (to > Math.max(at, from)) pieces.push({ from: Math.max(at, from), to, width: to - Math.max(at, from) });
      at = Math.max(at, to);
    }
    idle(end);
    let left = 0;
    for (const piece of pieces) { piece.left = left; left += piece.width; }
    const whole = left || 1;
    return {
      pieces, whole,
      place(time) {
        const piece = pieces.find((p) => time <= p.to) ?? pieces.at(-1);
        if (!piece) return 0;
        const part = piece.to > piece.from ? (Math.min(Math.max(time, piece.from), piece.to) - piece.from) / (piece.to - piece.from) : 0;
        return (100 * (piece.left + part * piece.width)) / whole;
      },
    };
  }

  const seconds = (from, to) => Holdfast.duration((to - from) / 1000);
  const ms = (text) => (text ? Date.parse(text) : null);

  // The rows of a run are pieces: lists of rows {key, name, status, depth, icon, bars: [{kind, from, to}], time, title,
  // snapshot}, and of a long run spans of steps {first, last}, whose rows are made when they come in sight.
  function pieces(run, attempts, steps, now) {
    const made = [[]];
    const push = (row) => made.at(-1).push(row);
    const created = ms(run.created_at), ended = ms(run.finished_at) ?? now;
    const first = attempts.length ? ms(attempts[0].started_at) : ended;
    const whole = [{ kind: "soft", from: created, to: first }];
    const below = steps.whole ? byAttempt(steps.sorted()) : null;
    push({ key: "run", name: "whole run", status: run.status, depth: 0, bars: whole, time: seconds(created, ended) });
    let before = null;
    // What a fork was started with: facts of another run, at another time, so they have no bars.
    const kept = [...(below ?? steps.attempts)].filter(([number]) => number < 1);
    if (kept.length) {
      push({ key: "inherited", name: "kept from the run it was forked from", status: "completed", depth: 1, bars: [], time: "" });
      for (const [, part] of kept) {
        if (below) made.at(-1).push(...part.filter((row) => row.icon !== "intent").map((row) => ({ ...row, bars: [], time: "kept" })));
        else made.push(part, []);
      }
    }
    for (const attempt of attempts) {
      const from = ms(attempt.started_at), to = ms(attempt.finished_at) ?? now;
      if (before !== null && from - before > 50) {
        push({ key: `gap${attempt.number}`, name: "waited before the next attempt", status: "retrying", depth: 1, icon: "wait", bars: [{ kind: "wait", from: before, to: from }], time: seconds(before, from) });
      }
      whole.push({ kind: "", from, to });
      push({
        key: `attempt${attempt.number}`, name: `attempt ${attempt.number}`, status: attempt.status, depth: 1,
        bars: [{ kind: "", from, to }], time: seconds(from, to), title: attempt.worker ? `on ${attempt.worker}` : "",
      });
      if (below) made.at(-1).push(...(below.get(attempt.number) ?? []));
      else if (steps.attempts.has(attempt.number)) made.push(steps.attempts.get(attempt.number), []);
      before = to;
    }
    if (run.status === "retrying" && before !== null) {
      const due = ms(run.next_at);
      push({ key: "next", name: "waits for the next attempt", status: "retrying", depth: 1, icon: "wait", bars: [{ kind: "wait", from: before, to: now }], time: due && due > now ? `in ${seconds(now, due)}` : seconds(before, now) });
    }
    if (run.status === "waiting" && before !== null) {
      const since = waitingSince(run, attempts, steps), due = ms(run.next_at);
      push({ key: "waits", name: run.waits_for ? `waits for ${run.waits_for}` : "waits", status: "waiting", depth: 2, icon: "wait", bars: [{ kind: "wait", from: since, to: now }], time: due && due > now ? `in ${seconds(now, due)}` : seconds(since, now) });
    }
    return made;
  }

  // The rows of steps; an intent that has been answered is shown by its answer.
  function byAttempt(snapshots) {
    const last = new Map(), found = new Map();
    for (const s of snapshots) last.set(s.key, s.sequence);
    for (const s of snapshots) {
      if (s.kind === "intent" && last.get(s.key) !== s.sequence) continue;
      if (!found.has(s.attempt)) found.set(s.attempt, []);
      found.get(s.attempt).push(step(s));
    }
    return found;
  }

  const sizeOf = (piece) => (Array.isArray(piece) ? piece.length : piece.last - piece.first + 1);

  // Since when a run waits: as its waits say, else since it last did something.
  const waitingSince = (run, attempts, steps) =>
    ms(run.waits_since) ?? Math.max(ms(attempts.at(-1).started_at), ms(steps.latest()?.finished_at) ?? 0);

  // When something was done: the attempts, less the time in which they only waited.
  function busy(run, attempts, steps, now) {
    const snapshots = steps.whole ? steps.sorted().filter((s) => s.attempt > 0) : [];
    const long = steps.whole ? snapshots.filter((s) => s.kind === "wait") : steps.overview?.waits ?? [];
    const waits = long.map((s) => [ms(s.started_at), ms(s.finished_at)]);
    if (run.status === "waiting" && attempts.length) waits.push([waitingSince(run, attempts, steps), now]);
    const spans = attempts.map((a) => [ms(a.started_at), ms(a.finished_at) ?? now]);
    if (!waits.length) return spans;
    waits.sort((a, b) => a[0] - b[0]);
    const acted = snapshots.filter((s) => s.kind !== "wait").map((s) => [ms(s.started_at), ms(s.finished_at)]);
    for (let [from, to] of spans) {
      for (const [start, end] of waits) {
        if (end <= from || start >= to) continue;
        if (start > from) acted.push([from, start]);
        from = Math.max(from, end);
      }
      if (to > from) acted.push([from, to]);
    }
    return acted;
  }

  function step(s) {
    const from = ms(s.started_at), to = ms(s.finished_at);
    const status = { failure: "failed", checkpoint: "waiting", wait: "waiting", intent: "unknown", cleared: "unknown", handed: "waiting" }[s.kind] ?? "completed";
    return {
      key: `s${s.sequence}`, snapshot: s.sequence, name: s.key || s.name, status, depth: 2, icon: s.kind,
      bars: [{ kind: s.kind === "wait" ? "wait" : "", from, to }], time: s.kind === "checkpoint" ? "saved" : seconds(from, to), title: s.error ?? "",
    };
  }

  // One that is on its way, or (of numbers that a rolled back transaction took) was never stored.
  const blank = (sequence, missing) => ({
    key: `${missing ? "m" : "p"}${sequence}`, name: missing ? `number ${sequence} was not stored` : `step ${sequence} …`, status: "waiting", depth: 2, bars: [], time: "",
  });

  class Waterfall {
    constructor(holder, onOpen) {
      this.holder = holder;
      this.onOpen = onOpen;
      this.list = document.createElement("ol");
      this.list.className = "waterfall";
      this.list.setAttribute("aria-label", "Attempts and steps");
      this.axis = document.createElement("li");
      this.axis.className = "wf-axis";
      this.axis.setAttribute("aria-hidden", "true");
      this.axis.innerHTML = '<span class="wf-name"></span><svg class="wf-track"></svg><span class="wf-time"></span>';
      this.density = document.createElement("li");
      this.density.className = "wf-density";
      this.density.setAttribute("aria-hidden", "true");
      this.density.innerHTML = '<span class="wf-name"><span></span></span><svg class="wf-track"></svg><span class="wf-time"></span>';
      this.density.addEventListener("click", (event) => {
        if (event.target.dataset.first) this.reveal(Number(event.target.dataset.first));
      });
      this.kept = new Map();
      holder.append(this.list);
      holder.addEventListener("scroll", () => this.plan(), { passive: true });
    }

    set(run, attempts, steps, now) {
      this.data = [run, attempts, steps, now];
      this.plan();
    }

    plan() {
      if (this.planned || !this.data) return;
      this.planned = true;
      requestAnimationFrame(() => { this.planned = false; this.draw(); });
    }

    draw() {
      const [run, attempts, steps, now] = this.data;
      this.pieces = pieces(run, attempts, steps, now);
      const count = this.pieces.reduce((sum, piece) => sum + sizeOf(piece), 0);
      const start = ms(run.created_at), end = Math.max(ms(run.finished_at) ?? now, start + 1);
      const map = scale(start, end, busy(run, attempts, steps, now));
      const [first, last] = this.range(count);
      this.list.style.paddingTop = `${first * ROW}px`;
      this.list.style.paddingBottom = `${(count - last) * ROW}px`;
      this.drawAxis(map, start);
      this.drawDensity(map, steps);
      const wanted = new Set();
      let place = steps.whole ? this.axis : this.density;
      if (this.list.firstChild !== this.axis) this.list.prepend(this.axis);
      if (steps.whole) this.density.remove();
      else if (this.axis.nextSibling !== this.density) this.axis.after(this.density);
      for (const row of this.between(first, last, steps)) {
        wanted.add(row.key);
        const item = this.kept.get(row.key) ?? this.make(row);
        this.update(item, row, map);
        if (place.nextSibling !== item) place.after(item);
        place = item;
      }
      for (const [key, item] of this.kept) if (!wanted.has(key)) { item.remove(); this.kept.delete(key); }
    }

    // The rows from one place to another; steps among them that are not here are asked for.
    between(first, last, steps) {
      const found = [], seen = [];
      let at = 0;
      for (const piece of this.pieces) {
        const size = sizeOf(piece), from = Math.max(first - at, 0), to = Math.min(last - at, size);
        at += size;
        if (to <= from) continue;
        if (Array.isArray(piece)) { found.push(...piece.slice(from, to)); continue; }
        seen.push(piece.first + from, piece.first + to - 1);
        for (let sequence = piece.first + from; sequence < piece.first + to; sequence++) {
          const snapshot = steps.at(sequence);
          found.push(snapshot ? step(snapshot) : blank(sequence, snapshot === undefined));
        }
      }
      if (seen.length) steps.look(Math.min(...seen), Math.max(...seen));
      return found;
    }

    // Scrolls to a step.
    reveal(sequence) {
      let at = 0;
      for (const piece of this.pieces ?? []) {
        const index = Array.isArray(piece) ? piece.findIndex((row) => row.snapshot === sequence)
          : sequence >= piece.first && sequence <= piece.last ? sequence - piece.first : -1;
        if (index >= 0) {
          this.holder.scrollTop = Math.max(0, (at + index) * ROW - this.holder.clientHeight / 2);
          this.holder.focus({ preventScroll: true });
          return;
        }
        at += sizeOf(piece);
      }
      Holdfast.toast("There is no such step.", "warning");
    }

    // Groups of consecutive steps on the time scale: the higher, the more of them there are in their time.
    drawDensity(map, steps) {
      if (steps.whole || !steps.overview) return;
      const track = this.density.children[1], { groups, from, first } = steps.overview;
      const bars = groups.map((group) => {
        const left = map.place(ms(group.from)), width = Math.max(map.place(ms(group.to)) - left, NARROWEST);
        return { group, left: Math.min(left, 100 - NARROWEST), width, dense: group.count / width };
      });
      const most = Math.max(...bars.map((bar) => bar.dense));
      while (track.childElementCount > bars.length) track.lastChild.remove();
      while (track.childElementCount < bars.length) track.append(document.createElementNS(SVG, "rect"));
      bars.forEach(({ group, left, width, dense }, index) => {
        const rect = track.children[index], height = 4 + 20 * Math.sqrt(dense / most);
        const set = { x: `${left.toFixed(3)}%`, width: `${width.toFixed(3)}%`, y: (26 - height).toFixed(1), height: height.toFixed(1), "data-first": group.first, class: group.failed ? "bad" : "" };
        for (const [k, v] of Object.entries(set)) if (rect.getAttribute(k) !== String(v)) rect.setAttribute(k, v);
      });
      const all = steps.last - steps.first + 1;
      this.density.children[0].firstChild.textContent = from > first ? `the last ${(steps.last - from + 1).toLocaleString("en")} of ${all.toLocaleString("en")}` : `all ${all.toLocaleString("en")}`;
    }

    range(count) {
      if (count <= ALL_AT_ONCE) return [0, count];
      const first = Math.max(0, Math.floor(this.holder.scrollTop / ROW) - OVERSCAN);
      return [first, Math.min(count, first + Math.ceil(this.holder.clientHeight / ROW) + 2 * OVERSCAN)];
    }

    make(row) {
      const item = document.createElement("li");
      const name = document.createElement("span"), track = document.createElementNS(SVG, "svg"), time = document.createElement("span");
      name.className = "wf-name";
      if (row.icon) {
        const icon = document.createElementNS(SVG, "svg");
        for (const [k, v] of Object.entries({ viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "stroke-width": "1.5", "stroke-linecap": "round", "aria-hidden": "true" })) icon.setAttribute(k, v);
        icon.innerHTML = ICONS[row.icon] ?? ICONS.step;
        name.append(icon);
      }
      const label = document.createElement(row.snapshot ? "button" : "span");
      if (row.snapshot) {
        Object.assign(label, { type: "button", className: "wf-open" });
        label.addEventListener("click", () => this.onOpen(row.snapshot));
      }
      label.textContent = row.name;
      name.append(label);
      track.setAttribute("class", "wf-track");
      track.setAttribute("aria-hidden", "true");
      time.className = "wf-time";
      item.append(name, track, time);
      item.dataset.depth = row.depth;
      this.kept.set(row.key, item);
      return item;
    }

    update(item, row, map) {
      const [name, track, time] = item.children;
      if (item.dataset.status !== row.status) item.dataset.status = row.status;
      const title = row.title ? `${row.name}: ${row.title}` : row.name;
      if (name.title !== title) name.title = title;
      if (name.lastChild.textContent !== row.name) name.lastChild.textContent = row.name;
      if (time.textContent !== row.time) time.textContent = row.time;
      while (track.childElementCount < row.bars.length) track.append(document.createElementNS(SVG, "rect"));
      row.bars.forEach((bar, index) => {
        const rect = track.children[index], soft = bar.kind === "soft";
        const left = Math.min(map.place(bar.from), 100 - NARROWEST);
        const width = Math.max(map.place(bar.to) - left, soft ? 0 : NARROWEST);
        const set = { class: bar.kind, x: `${left.toFixed(3)}%`, width: `${width.toFixed(3)}%`, y: soft ? 12 : 8, height: soft ? 4 : 12, rx: 1 };
        for (const [k, v] of Object.entries(set)) if (rect.getAttribute(k) !== String(v)) rect.setAttribute(k, v);
      });
    }

    drawAxis(map, start) {
      const track = this.axis.children[1];
      track.replaceChildren();
      const put = (tag, attributes, text) => {
        const element = document.createElementNS(SVG, tag);
        for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, v);
        if (text) element.textContent = text;
        track.append(element);
      };
      const room = (100 * LABEL) / (track.getBoundingClientRect().width || 400); // percent that a label takes
      let labelled = -100, written = -100; // where the last label begins, and ends
      for (const piece of map.pieces) {
        const left = (100 * piece.left) / map.whole;
        if (!piece.folded && left - labelled > room && left < 100 - room) {
          const label = seconds(start, piece.from);
          put("text", { x: `${left.toFixed(2)}%`, y: 18 }, label);
          labelled = left;
          written = left + (room * CHARACTER * (label.length + 1)) / LABEL;
        }
        const middle = left + (50 * piece.width) / map.whole;
        if (piece.folded && (100 * piece.width) / map.whole > room / 3 && middle > written) put("text", { x: `${middle.toFixed(2)}%`, y: 18, "text-anchor": "middle", class: "wf-fold" }, "⋯");
      }
      const end = map.pieces.at(-1);
      this.axis.children[2].textContent = end ? seconds(start, end.to) : "";
    }
  }

  window.HoldfastWaterfall = Object.freeze({ Waterfall, scale });
})();
