// Charts by Plotly, in the theme's colours. Plotly is large: it is fetched after the page, when a chart comes near.
// A figure names colours by token ("--bad-fill"); they are resolved here, again whenever the theme changes.
(() => {
  "use strict";
  const PLOTLY = document.currentScript.dataset.plotly;
  const drawn = new Map(); // element → figure
  let loading;

  function plotly() {
    loading ??= new Promise((resolve, reject) => {
      if (window.Plotly) { resolve(window.Plotly); return; }
      // Plotly would write a <style>, which our policy forbids; this tells it that the rules are in data.css.
      const mark = document.createElement("meta");
      mark.id = "plotly.js-style-global";
      mark.className = "no-inline-styles";
      document.head.append(mark);
      // The map library inside it does not ask: while the script runs, its <style> goes nowhere instead of to the console.
      const head = document.head;
      head.appendChild = (node) => (node.nodeName === "STYLE" ? node : Node.prototype.appendChild.call(head, node));
      const script = document.createElement("script");
      script.src = PLOTLY;
      script.onload = () => { delete head.appendChild; resolve(window.Plotly); };
      script.onerror = () => { delete head.appendChild; loading = undefined; reject(new Error("Plotly could not be loaded")); };
      head.append(script);
    });
    return loading;
  }

  // Copies the figure with every "--name" replaced by what the theme means by it now.
  function resolve(value) {
    if (typeof value === "string") return /^--[\w-]+$/.test(value) ? Holdfast.token(value) : value;
    if (Array.isArray(value)) return value.map(resolve);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v)]));
    return value;
  }

  const isPlain = (value) => value && typeof value === "object" && !Array.isArray(value);
  function merge(base, extra) {
    const result = { ...base };
    for (const [key, value] of Object.entries(extra)) result[key] = isPlain(value) && isPlain(base[key]) ? merge(base[key], value) : value;
    return result;
  }

  function layout(given) {
    const ink = "--ink3", line = "--line";
    const axis = {
      gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, automargin: true, fixedrange: true,
      tickfont: { color: ink }, title: { font: { color: ink } }, ticklabeloverflow: "hide past div",
    };
    const theirs = { ...given };
    delete theirs.template;
    const base = {
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 40, r: 8, t: 8, b: 28 }, bargap: 0.12, showlegend: false, hovermode: "closest",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
      hoverlabel: { bgcolor: "--solid", bordercolor: "--solid", font: { color: "--on-solid", size: 13 } },
      legend: { font: { color: "--ink2" }, orientation: "h", y: 1.12, x: 0 },
    };
    const axes = Object.fromEntries(["xaxis", "yaxis", ...Object.keys(theirs).filter((k) => /^[xy]axis\d+$/.test(k))].map((k) => [k, axis]));
    return resolve(merge({ ...base, ...axes, xaxis: { ...axis, showgrid: false } }, theirs));
  }

  // A box can be dragged with a pointer that is precise; a finger scrolls the page instead.
  function boxed(element, given) {
    const box = given.meta?.box && matchMedia("(pointer: fine)").matches;
    element.toggleAttribute("data-box", Boolean(box));
    if (!box) return { ...given, dragmode: false };
    return { ...given, newselection: { line: { color: "--focus", width: 2, dash: "solid" } } };
  }

  const go = (url) => { if (typeof url === "string" && url.startsWith("/") && !url.startsWith("//")) location.assign(url); };

  // Where a point leads: its trace has one address for all of them, with holes for what its column and row ask for.
  function behind(point) {
    const meta = point?.data.meta;
    if (!meta?.url) return undefined;
    const [row, column] = Array.isArray(point.pointNumber) ? point.pointNumber : [0, point.pointNumber];
    return meta.url.replace("{x}", () => meta.x?.[column] ?? "").replace("{y}", () => meta.y?.[row] ?? "");
  }

  // The address of a box that was dragged, each side at the next edge outside of it.
  function boxOf(box, range) {
    if (!box || !range?.x || !range.y) return undefined;
    const sides = (values, axis, number) => {
      const [from, to] = values.map(number).sort((a, b) => a - b);
      const at = axis.at.map(number);
      const first = at.findLastIndex((edge) => edge <= from), last = at.findIndex((edge) => edge >= to);
      return [axis.as[Math.max(first, 0)], axis.as[last < 0 ? at.length - 1 : last]];
    };
    const time = (text) => Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text.replace(" ", "T")}Z`);
    const [x0, x1] = sides(range.x, box.x, time), [y0, y1] = sides(range.y, box.y, Number);
    const holes = { x0, x1, y0, y1 };
    return box.url.replace(/\{([xy][01])\}/g, (_, name) => encodeURIComponent(holes[name]));
  }

  function say(element, note) {
    element.dataset.note = note;
    element.dataset.state = "note";
  }

  async function draw(element, figure) {
    drawn.set(element, figure);
    const hasData = figure.data?.some((trace) => (trace.x ?? trace.y ?? trace.z ?? []).length);
    if (!hasData) {
      if (window.Plotly) window.Plotly.purge(element);
      say(element, element.dataset.empty || "Nothing to draw in this time");
      return;
    }
    const Plotly = await plotly();
    if (drawn.get(element) !== figure) return; // a newer figure came while Plotly was loading
    await Plotly.react(element, resolve(figure.data), layout(boxed(element, figure.layout ?? {})), { displayModeBar: false, responsive: true, doubleClick: false });
    delete element.dataset.state;
    if (!element.dataset.wired) {
      element.dataset.wired = "1";
      element.on("plotly_click", (event) => {
        const to = event.points[0]?.customdata;
        go(behind(event.points[0]) ?? (Array.isArray(to) ? to.find((part) => String(part).startsWith("/")) : to));
      });
      element.on("plotly_selected", (event) => go(boxOf(drawn.get(element).layout?.meta?.box, event?.range)));
    }
  }

  async function fetchInto(element) {
    try {
      const response = await fetch(element.dataset.chart, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      await draw(element, await response.json());
    } catch (error) {
      say(element, `The chart could not be loaded (${error.message})`);
    }
  }

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); fetchInto(entry.target); }
  }, { rootMargin: "200px" });
  const watch = (root) => {
    for (const element of root.querySelectorAll("[data-chart]")) near.observe(element);
    for (const element of root.querySelectorAll("[data-figure]")) draw(element, JSON.parse(element.dataset.figure));
  };

  window.addEventListener("holdfast:theme", () => { for (const [element, figure] of drawn) if (element.isConnected) draw(element, figure); else drawn.delete(element); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => window.dispatchEvent(new Event("holdfast:theme")));
  document.addEventListener("htmx:load", (event) => watch(event.target));
  watch(document);
  window.HoldfastChart = Object.freeze({ draw, refresh: fetchInto });
})();
