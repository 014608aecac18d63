// Fills the examples on /design/.
(() => {
  "use strict";
  const log = HoldfastLog.attach(document.getElementById("demo-log"), search);
  const said = [
    ["info", "planning 4 searches"], ["debug", "cache miss for kelp forests"], ["info", "\u001b[32mfound\u001b[0m 12 papers, \u001b[1mreading 3\u001b[0m"],
    ["warning", "provider answered 429; backing off"], ["error", "TimeoutError: no answer after 30 s\n  File \"agent.py\", line 31, in search"],
  ];
  const start = Date.now();
  const lines = Array.from({ length: 1000 }, (_, i) => {
    const [level, message] = said[i % said.length];
    return { sequence: i + 1, at: new Date(start + i * 137).toISOString(), level, message, attempt: 1, step: i % 3 ? "search" : "", fields: i % 4 ? null : { tokens: 120 + i } };
  });
  log.append(lines);

  // As the server would answer: the whole log on one page. It has nothing of what came later.
  async function search({ q = "", level = "debug", step = "", before, after = 0, at }) {
    const lowest = HoldfastLogText.LEVELS.indexOf(level);
    const items = lines.filter((line) => HoldfastLogText.LEVELS.indexOf(line.level) >= lowest && (!step || line.step === step)
      && `${line.message} ${line.step}`.toLowerCase().includes(q.toLowerCase()) && line.sequence > after && (before === undefined || line.sequence < before));
    return { items, first: 1, last: Math.max(lines.length, log.newest), earlier: false, later: false, here: at ? lines.find((line) => line.at >= at)?.sequence : null };
  }
  const minutes = Array.from({ length: 60 }, (_, i) => new Date(start - (60 - i) * 60000).toISOString());
  HoldfastChart.draw(document.getElementById("demo-rate"), {
    data: [{ type: "scatter", mode: "lines", x: minutes, y: minutes.map((_, i) => Math.max(0, Math.sin(i / 6) * 0.04 + (i > 44 ? 0.08 : 0.01))), line: { color: "--bad-fill", width: 2 }, fill: "tozeroy", fillcolor: "--bad-soft", hovertemplate: "%{y:.1%} failed<extra></extra>" }],
    layout: { yaxis: { tickformat: ".0%", rangemode: "tozero" } },
  });
  HoldfastChart.draw(document.getElementById("demo-histogram"), {
    data: [{ type: "bar", x: ["10 ms", "30 ms", "100 ms", "300 ms", "1 s", "3 s", "10 s", "30 s", "2 m"], y: [12, 80, 340, 610, 420, 190, 77, 31, 4], marker: { color: "--run-fill" }, hovertemplate: "%{y} runs<extra></extra>" }],
    layout: {},
  });
  document.getElementById("demo-toast").addEventListener("click", () => Holdfast.toast("Run queued again. It starts from its last snapshot."));
})();
