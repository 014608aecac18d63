// Turns <div data-json><pre>…</pre></div> into a collapsible tree. It has a parser of its own: JSON.parse would round
// integers beyond 2^53, and a run's payload must be shown digit by digit. Branches are built when they are opened.
(() => {
  "use strict";
  const CHILDREN = 200; // built at once; "show more" builds the next ones
  const OPEN_DEPTH = 2;
  const TOKEN = /\s*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null|NaN|-?Infinity))/y;

  // → {kind: "object", entries: [[key, node]…]} | {kind: "array", items: [node…]} | {kind: "string"|"number"|"word", text}
  function parse(source) {
    TOKEN.lastIndex = 0;
    const stack = [];
    let result, key = null;
    const place = (node) => {
      const top = stack.at(-1);
      if (!top) result = node;
      else if (top.kind === "array") top.items.push(node);
      else if (key === null) key = node.text;
      else { top.entries.push([key, node]); key = null; }
    };
    while (TOKEN.lastIndex < source.length) {
      const match = TOKEN.exec(source);
      if (!match) break;
      const [, mark, string, number, word] = match;
      if (mark === "{" || mark === "[") {
        const node = mark === "{" ? { kind: "object", entries: [] } : { kind: "array", items: [] };
        place(node);
        stack.push(node);
      } else if (mark === "}" || mark === "]") stack.pop();
      else if (string !== undefined) place({ kind: "string", text: JSON.parse(string) });
      else if (number !== undefined) place({ kind: "number", text: number });
      else if (word !== undefined) place({ kind: "word", text: word });
    }
    if (stack.length || result === undefined) throw new SyntaxError("not whole JSON");
    return result;
  }

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const children = (node) => (node.kind === "object" ? node.entries : node.items.map((item, index) => [index, item]));
  const leafClass = { string: "str", number: "number", word: "word" };

  function peek(node) {
    const size = (node.entries ?? node.items).length;
    const [open, close] = node.kind === "object" ? "{}" : "[]";
    const noun = node.kind === "object" ? "field" : "item";
    return size ? `${open} ${size.toLocaleString("en")} ${noun}${size > 1 ? "s" : ""} ${close}` : open + close;
  }

  function draw(node, name, depth) {
    const isLeaf = node.kind in leafClass || !(node.entries ?? node.items).length;
    const label = [];
    if (name !== null) label.push(make("span", "key", Holdfast.inert(name)), make("span", "punct", ": "));
    if (isLeaf) {
      const leaf = make("div", "leaf");
      leaf.append(...label, node.kind in leafClass ? make("span", leafClass[node.kind], Holdfast.inert(node.text)) : make("span", "punct", peek(node)));
      return leaf;
    }
    const details = make("details");
    const summary = make("summary");
    summary.append(...label, make("span", depth ? "peek" : "punct", peek(node)));
    details.append(summary);
    const fill = () => {
      if (details.dataset.full) return;
      details.dataset.full = "1";
      const list = make("ul");
      details.append(list);
      more(list, children(node), 0, depth + 1);
    };
    details.addEventListener("toggle", fill);
    if (depth < OPEN_DEPTH) { details.open = true; fill(); }
    return details;
  }

  function more(list, entries, from, depth) {
    for (const [name, child] of entries.slice(from, from + CHILDREN)) {
      const item = make("li");
      item.append(draw(child, name, depth));
      list.append(item);
    }
    const left = entries.length - from - CHILDREN;
    if (left <= 0) return;
    const item = make("li");
    const button = make("button", "button quiet small", `Show ${Math.min(left, CHILDREN)} more of ${left.toLocaleString("en")}`);
    button.type = "button";
    button.addEventListener("click", () => { item.remove(); more(list, entries, from + CHILDREN, depth); });
    item.append(button);
    list.append(item);
  }

  function enhance(holder) {
    if (holder.dataset.drawn) return;
    holder.dataset.drawn = "1";
    const pre = holder.querySelector("pre");
    let node;
    try { node = parse(pre.textContent); } catch { return; } // cut or not JSON: the text itself is the best view
    if (node.kind in leafClass && node.kind !== "string") return;
    if (node.kind === "string" || !(node.entries ?? node.items).length) return;
    const tree = make("div", "tree");
    tree.append(draw(node, null, 0));
    pre.hidden = true;
    pre.after(tree);
  }

  const enhanceIn = (root) => { for (const holder of root.querySelectorAll("[data-json]")) enhance(holder); };
  document.addEventListener("htmx:load", (event) => {
    if (event.target.matches?.("[data-json]")) enhance(event.target);
    enhanceIn(event.target);
  });
  enhanceIn(document);
  window.HoldfastJson = Object.freeze({ parse, enhance });
})();
