// A line of a log as a row. Whatever a program printed stays text: markup is never read, colours are those of the theme,
// and characters that would steer a terminal or turn the text around are shown instead of obeyed.
(() => {
  "use strict";
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
    const text = message.replace(OTHER_ESCAPES, "");
    let from = 0, classes = new Set();
    const flush = (to) => {
      if (to <= from) return;
      const part = Holdfast.inert(text.slice(from, to));
      into.append(classes.size ? make("span", [...classes].join(" "), part) : part);
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

  // A message of many lines takes as many rows; the first one has the link to the line.
  function row(line, part) {
    const row = make("div", "line"), text = make("span", "text");
    row.dataset.level = line.level;
    const time = make("time", "", part ? "             " : Holdfast.clock(line.at));
    if (!part) Object.assign(time, { dateTime: line.at, title: line.at });
    colour(text, line.rows[part]);
    if (line.fields && part === line.rows.length - 1) {
      const pairs = Object.entries(line.fields).map(([k, v]) => `${k}=${typeof v === "string" ? v : JSON.stringify(v)}`);
      text.append(make("span", "extra", ` ${Holdfast.inert(pairs.join(" "))}`));
    }
    const where = line.step ? `${line.attempt}·${line.step}` : `attempt ${line.attempt ?? "–"}`;
    row.append(part ? time : linked(line, time), make("span", "level", part ? "" : line.level), make("span", "where", part ? "" : Holdfast.inert(where)), text);
    return row;
  }

  function linked(line, time) {
    const link = make("a", "at");
    link.href = `#line-${line.sequence}`;
    link.tabIndex = -1; // logs.js lets the keyboard have that of the first row in sight
    link.append(time);
    return link;
  }

  window.HoldfastLogText = Object.freeze({ LEVELS, levelName, make, row });
})();
