// The table of snapshots: a page of them, the newest until another one is asked for.
(() => {
  "use strict";
  const SHOWN = 200;
  const KINDS = { step: "step", checkpoint: "checkpoint", wait: "wait", failure: "failed try", intent: "intent", cleared: "did not happen", handed: "handed over" };

  class Snapshots {
    constructor(steps, address) {
      this.steps = steps;
      this.address = address;
      this.table = document.getElementById("snapshots");
      this.body = this.table.tBodies[0];
      this.pager = document.getElementById("snapshots-pager");
      this.from = null; // null: the newest
      steps.surveyed = () => { if (this.rows().length) this.tell(); }; // which is the first one, is known only then
      this.pager.addEventListener("click", (event) => {
        const to = event.target.closest("button")?.dataset.to;
        if (to) this.turn(to);
      });
    }

    // Some were told just now: only the newest page takes them. It may be that others are here that were not told but asked
    // for by the waterfall, so what is shown goes by what is held.
    add() {
      if (!this.steps.held.size) return;
      this.table.hidden = false;
      document.getElementById("snapshots-none").hidden = true;
      if (this.from === null) {
        const shown = this.rows().map((row) => Number(row.dataset.sequence)), newest = this.newestHeld();
        const fresh = newest.filter((item) => !shown.includes(item.sequence));
        const late = fresh.some((item) => item.sequence < shown.at(-1));
        if (late) this.show(newest);
        else this.body.append(...fresh.map((item) => this.row(item)));
        while (this.rows().length > SHOWN) this.dropFirst();
      }
      this.tell();
    }

    newestHeld() { return this.steps.sorted().slice(-SHOWN); }

    rows() { return [...this.body.querySelectorAll("tr[data-sequence]")]; }

    dropFirst() {
      const first = this.body.firstElementChild;
      if (first.nextElementSibling?.matches(".detail")) first.nextElementSibling.remove();
      first.remove();
    }

    show(items) { this.body.replaceChildren(...items.map((item) => this.row(item))); }

    tell() {
      const rows = this.rows(), { first, last } = this.steps;
      const from = Number(rows[0]?.dataset.sequence ?? 0), to = Number(rows.at(-1)?.dataset.sequence ?? 0);
      this.pager.hidden = from <= first && to >= last;
      this.pager.querySelector("span").textContent = `${from.toLocaleString("en")} to ${to.toLocaleString("en")} of ${last.toLocaleString("en")}`;
      this.pager.querySelector('[data-to="earlier"]').disabled = from <= first;
      this.pager.querySelector('[data-to="later"]').disabled = this.from === null;
    }

    async turn(to) {
      const at = Number(this.rows()[0]?.dataset.sequence ?? this.steps.last);
      if (to === "newest" || (to === "later" && at + 2 * SHOWN > this.steps.last)) await this.newest();
      else await this.page(Math.max(this.steps.first, at + (to === "earlier" ? -SHOWN : SHOWN)));
      this.table.scrollIntoView({ block: "nearest" });
    }

    async newest() {
      await this.page(Math.max(1, this.steps.last - SHOWN + 1), true);
    }

    async page(from, newest = false) {
      try {
        const items = await this.steps.range(from, from + SHOWN - 1);
        this.from = newest ? null : from;
        this.show(newest ? this.newestHeld() : items); // some may have been told meanwhile
        this.tell();
      } catch {
        Holdfast.toast("These snapshots could not be loaded.", "error");
      }
    }

    async open(sequence) {
      const find = () => this.body.querySelector(`tr[data-sequence="${sequence}"]`);
      if (!find()) await this.page(Math.max(this.steps.first, sequence - SHOWN / 2));
      const row = find();
      if (!row) return;
      const open = row.querySelector("button");
      if (open.getAttribute("aria-expanded") !== "true" || row.nextElementSibling.matches("[data-failed]")) this.toggle(row, open);
      row.scrollIntoView({ block: "nearest" });
      open.focus({ preventScroll: true });
    }

    row(snapshot) {
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
      open.addEventListener("click", () => this.toggle(row, open));
      const at = document.createElement("time");
      at.dateTime = snapshot.finished_at;
      at.title = snapshot.finished_at;
      at.textContent = `${Holdfast.clock(snapshot.finished_at).slice(0, 8)}Z`;
      cell(String(snapshot.sequence), "num muted");
      cell(open);
      cell(KINDS[snapshot.kind] ?? snapshot.kind, "nowrap");
      cell(snapshot.attempt > 0 ? String(snapshot.attempt) : "kept", "num");
      cell(snapshot.kind === "checkpoint" ? "–" : Holdfast.duration((Date.parse(snapshot.finished_at) - Date.parse(snapshot.started_at)) / 1000), "num");
      cell(at, "nowrap");
      return row;
    }

    toggle(row, open) {
      const detail = row.nextElementSibling;
      if (detail?.matches(".detail")) {
        detail.remove();
        open.setAttribute("aria-expanded", "false");
        if (!("failed" in detail.dataset)) return; // one that could not be loaded is asked for again
      }
      const made = document.createElement("tr"), cell = document.createElement("td");
      made.className = "detail";
      cell.colSpan = 6;
      cell.textContent = "Loading …";
      made.append(cell);
      row.after(made);
      open.setAttribute("aria-expanded", "true");
      cell.addEventListener("htmx:afterRequest", (event) => {
        if (event.target !== cell || event.detail.successful) return;
        made.dataset.failed = "";
        cell.textContent = "What this snapshot holds could not be loaded. Open it again to ask for it again.";
      });
      // Without a source it is the body that asks, and the body has one question at a time: others would be dropped.
      const asking = { source: cell, target: cell, swap: "innerHTML" };
      htmx.ajax("GET", `${this.address}${row.dataset.sequence}/`, asking).catch(() => {}); // the event has told it
    }
  }

  window.HoldfastSnapshots = Object.freeze({ Snapshots });
})();
