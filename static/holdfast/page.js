// What every page needs: theme toggle, live light, times that tick, copying, toasts, menus that close.
// Everything hangs on data attributes and on one listener per event, so parts swapped in by htmx just work.
(() => {
  "use strict";
  const root = document.documentElement;
  const $$ = (selector, from = document) => from.querySelectorAll(selector);

  // Theme -----------------------------------------------------------------------------------------------------------
  const THEMES = ["system", "light", "dark"];
  const theme = () => root.dataset.theme || "system";

  function setTheme(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    try {
      if (name === "system") localStorage.removeItem("holdfast-theme");
      else localStorage.setItem("holdfast-theme", name);
    } catch { /* storage is switched off: the choice holds for this page */ }
    window.dispatchEvent(new Event("holdfast:theme"));
  }

  function showTheme() {
    for (const button of $$("[data-theme-toggle]")) {
      button.disabled = false;
      button.title = `Theme: ${theme()}`;
      for (const name of $$("[data-theme-name]", button)) name.textContent = theme();
    }
  }

  // Scripts that draw read colours here: the probe resolves light-dark() and var() to what the theme means now.
  let probe;
  function token(name) {
    if (!probe) {
      probe = document.createElement("span");
      probe.hidden = true;
      document.body.append(probe);
    }
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  // Live light ------------------------------------------------------------------------------------------------------
  // "unknown" until a source has beaten; "live" only while beats are fresh; "paused" by the person; else "stale".
  const live = {
    last: 0,
    staleAfter: 15000,
    paused: false,
    measured: false,
    by: "", // "polling" where no websocket can be had
    words: { unknown: "not live", live: "live", paused: "paused", stale: "stale" },
    titles: {
      unknown: "Nothing has been measured yet",
      live: "What you see is now. Press to pause.",
      paused: "Updates are held back. Press to go on.",
      stale: "No answer from the server for a while: what you see may be old",
    },
    polled: "No websocket comes through, so the page asks every two seconds: what you see is seconds old. Press to pause.",
    get state() {
      if (live.paused) return "paused";
      if (!live.measured) return "unknown";
      return live.last && performance.now() - live.last <= live.staleAfter ? "live" : "stale";
    },
    beat(by = "") { live.measured = true; live.last = performance.now(); live.by = by; show(); },
    lost() { if (live.measured) { live.last = 0; show(); } },
    pause(paused = true) {
      live.paused = paused;
      show();
      window.dispatchEvent(new CustomEvent("holdfast:live", { detail: { paused } }));
    },
  };
  function show() {
    const state = live.state, polled = state === "live" && live.by === "polling", words = polled ? "live, by polling" : live.words[state];
    for (const light of $$(".live[data-live]")) {
      if (light.dataset.live === state && light.textContent === words) continue;
      light.dataset.live = state;
      light.title = polled ? live.polled : live.titles[state];
      light.querySelector("span").textContent = words;
    }
  }

  // Times -----------------------------------------------------------------------------------------------------------
  // The same words as holdfast/words.py; skew is how far this computer's clock is from the server's.
  let skew = 0;
  const now = () => Date.now() + skew;

  function duration(seconds) {
    if (seconds < 0.00005) return "0 ms";
    if (seconds < 0.0095) return `${(seconds * 1000).toFixed(1)} ms`;
    if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
    const s = Math.round(seconds), pad = (n) => String(n).padStart(2, "0");
    if (s < 3600) return `${Math.floor(s / 60)} m ${pad(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${pad(Math.floor((s % 3600) / 60))} m`;
    return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
  }

  function relative(at) {
    const seconds = (now() - at) / 1000, size = Math.abs(seconds);
    if (size < 2) return "just now";
    const [unit, name] = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]].find(([u]) => size >= u);
    const text = `${Math.floor(size / unit)} ${name}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  // Characters that reorder the text in which they stand are shown as what they are; pages do the same (middleware.py).
  // So are controls (but tabs and line feeds), what browsers take for the end of a line, and marks that nobody sees.
  const STEERING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
  const inert = (text) => String(text).replace(STEERING, (c) => {
    const code = c.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : `\\u${code.toString(16).padStart(4, "0")}`;
  });

  // `12:00:01.250Z`: UTC, as everywhere on the pages, whatever this computer's zone is.
  const clock = (at) => new Date(at).toISOString().slice(11);

  function set(element, text) { if (element.textContent !== text) element.textContent = text; }
  function tick() {
    if (document.hidden) return;
    for (const time of $$("time[data-relative]")) set(time, relative(Date.parse(time.dateTime)));
    for (const time of $$("time[data-ticking]")) set(time, duration(Math.max(0, Math.floor((now() - Date.parse(time.dateTime)) / 100) / 10)));
    show();
  }

  // Copying, also over plain HTTP, where navigator.clipboard does not exist ------------------------------------------
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      const focused = document.activeElement;
      area.value = text;
      area.className = "visually-hidden";
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      focused?.focus();
      return copied;
    }
  }

  async function copyFrom(button) {
    const holder = button.closest(".code, .json");
    const source = button.dataset.copy ? document.querySelector(button.dataset.copy) : holder?.querySelector("pre");
    const text = button.dataset.copyText ?? source?.dataset?.raw ?? source?.textContent ?? "";
    const label = button.querySelector("span") ?? button;
    const before = label.dataset.before ?? (label.dataset.before = label.textContent);
    label.textContent = (await copy(text)) ? "Copied" : "Not copied";
    setTimeout(() => { label.textContent = before; }, 1500);
  }

  // Toasts ----------------------------------------------------------------------------------------------------------
  function toast(text, kind = "info") {
    if ([...$$("#toasts .toast p")].some((said) => said.textContent === text)) return; // once is enough
    const box = document.createElement("div"), words = document.createElement("p"), close = document.createElement("button");
    box.className = "toast";
    box.dataset.kind = kind;
    words.textContent = text;
    close.type = "button";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", "Dismiss");
    close.textContent = "✕";
    box.append(words, close);
    document.getElementById("toasts").append(box);
    fade(box);
  }
  // What went well leaves by itself; what went wrong stays until it is dismissed.
  function fade(box) { if (box.dataset.kind === "info") setTimeout(() => box.remove(), 8000); }

  // Favicon: red when something is down ------------------------------------------------------------------------------
  function alert(down) {
    const link = document.querySelector('link[rel="icon"]');
    link.dataset.calm ??= link.href;
    link.href = down ? link.dataset.alert : link.dataset.calm;
  }

  // Listeners -------------------------------------------------------------------------------------------------------
  function closeOthers(kept) {
    for (const open of $$("details.menu[open], details.confirm[open]")) if (!open.contains(kept)) open.open = false;
  }

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    closeOthers(target);
    const button = target.closest("button");
    if (!button) return;
    if ("themeToggle" in button.dataset) setTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
    else if ("copy" in button.dataset) copyFrom(button);
    else if ("dismiss" in button.dataset) button.closest(".toast").remove();
    else if ("close" in button.dataset) shut(button.closest("details"));
    else if (button.matches(".live") && live.measured) live.pause(!live.paused);
  });

  // A box that opens beside its button stays in sight, wherever the button is.
  const EDGE = 8; // pixels
  document.addEventListener("toggle", (event) => {
    const box = event.target.closest?.("details.confirm[open]")?.querySelector(":scope > .box");
    if (!box) return;
    box.style.translate = "";
    const { left, right } = box.getBoundingClientRect(), width = document.documentElement.clientWidth;
    const by = left < EDGE ? EDGE - left : Math.min(0, Math.max(EDGE - left, width - EDGE - right));
    if (by) box.style.translate = `${by}px 0`;
  }, true);

  function shut(details) {
    details.open = false;
    details.querySelector("summary").focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const open = event.target instanceof Element && event.target.closest("details.menu[open], details.confirm[open]");
    if (open) shut(open);
    else closeOthers(null);
  });

  // A filter applies as soon as it is chosen. Its form has no autocomplete: a page that is gone back to shows what it lists.
  document.addEventListener("change", (event) => {
    if (event.target.matches("form[data-submits] select")) event.target.form.requestSubmit();
  });

  // A form is sent once: the second press of an impatient finger does nothing.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented || [...form.attributes].some((a) => a.name.startsWith("hx-"))) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => { for (const form of $$("form[data-sent]")) delete form.dataset.sent; });

  document.addEventListener("htmx:responseError", (event) => {
    const status = event.detail.xhr.status;
    toast(status === 403 ? "Your role does not allow this." : `The server refused that (${status}). Nothing was changed.`, "error");
  });
  document.addEventListener("htmx:timeout", (event) => {
    const reads = event.detail.requestConfig.verb === "get";
    if (reads) live.lost();
    toast(reads ? "The server did not answer in time." : "No answer came in time. Look whether it was done before you try again.", "error");
  });
  document.addEventListener("htmx:sendError", () => { live.lost(); toast("The server cannot be reached.", "error"); });
  window.addEventListener("holdfast:theme", showTheme);

  window.Holdfast = Object.freeze({
    token, live, toast, copy, duration, relative, alert, inert, clock,
    syncClock(serverMilliseconds) { skew = serverMilliseconds - Date.now(); },
  });
  showTheme();
  for (const box of $$(".toast")) fade(box);
  tick();
  setInterval(tick, 1000);
})();
