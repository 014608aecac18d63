// The part of a log that the browser holds: lines without a gap from one sequence to another, and the place of their
// rows among all rows, of which those that are not here are an estimate.
(() => {
  "use strict";
  const HOLD = 4000, HOLD_TEXT = 8 << 20; // lines and characters; beyond that the far quarter goes
  const ROWS = 200; // of one message

  class Block {
    constructor() { this.reset(); }

    // `first` to `last`: sequences that were looked at for the lines; `earlier`, `later`: there are others beyond.
    reset({ first = 0, last = 0, earlier = false, later = false, items = [] } = {}) {
      this.lines = [];
      this.rows = []; // [line, which of its rows]
      this.text = 0;
      this.base = 0; // rows before the first one, when it is `placed`
      this.placed = false;
      Object.assign(this, { first, last, earlier, later });
      this.append(items);
    }

    append(items) {
      const lines = this.take(items);
      this.lines.push(...lines);
      for (const row of rowsOf(lines)) this.rows.push(row);
    }

    prepend(items) {
      const lines = this.take(items), rows = rowsOf(lines);
      this.lines = [...lines, ...this.lines];
      this.rows = [...rows, ...this.rows];
      this.base -= rows.length;
    }

    take(items) {
      return items.map((item) => {
        const message = String(item.message);
        this.text += message.length;
        return { ...item, level: HoldfastLogText.levelName(item.level), rows: rowsIn(message) };
      });
    }

    get end() { return this.base + this.rows.length; }

    // Lets lines go: the last ones of a reader who is at the front, otherwise the first ones.
    trim(atFront) {
      while (this.lines.length > HOLD || (this.text > HOLD_TEXT && this.lines.length > 1)) {
        const count = Math.ceil(this.lines.length / 4);
        const gone = atFront ? this.lines.splice(-count) : this.lines.splice(0, count);
        const rows = gone.reduce((sum, line) => sum + line.rows.length, 0);
        for (const line of gone) this.text -= String(line.message).length;
        if (atFront) {
          this.rows.splice(-rows);
          this.later = true;
          this.last = this.lines.at(-1).sequence;
        } else {
          this.rows.splice(0, rows);
          this.base += rows;
          this.earlier = true;
          this.first = this.lines[0].sequence;
        }
      }
    }

    // Which of the rows a line begins at, or the next one that is here; their number when none is.
    rowOf(sequence) {
      let low = 0, high = this.rows.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (this.rows[middle][0].sequence < sequence) low = middle + 1;
        else high = middle;
      }
      return low;
    }

    has(sequence) { return this.rows[this.rowOf(sequence)]?.[0].sequence === sequence; }
  }

  function rowsIn(message) {
    const rows = message.split("\n");
    if (rows.length <= ROWS) return rows;
    return [...rows.slice(0, ROWS - 1), `… (${(rows.length - ROWS + 1).toLocaleString("en")} more rows in the download)`];
  }

  const rowsOf = (lines) => lines.flatMap((line) => line.rows.map((_, part) => [line, part]));

  window.HoldfastLogBlock = Object.freeze({ Block });
})();
