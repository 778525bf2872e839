"use strict";
// Elements and words. Every text goes through `shown` into a text node: what a model wrote stays text.

/** An element with attributes, listeners (on…) and children; null children are left out. */
function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "title") element.title = shown(value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  put(element, children);
  return element;
}

/** Put *children* into *element* in place of what it has. */
function fill(element, ...children) {
  element.replaceChildren();
  put(element, children);
}

function put(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== "") element.append(shown(String(child)));
  }
}

/** *text* with the characters made visible that control a terminal or reorder the text around them. */
function shown(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (found) => {
    const code = found.charCodeAt(0);
    if (found === "\r") return "";
    return code < 32 ? String.fromCharCode(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

/** *content* behind a line that opens it. */
function folded(title, content, options = {}) {
  return el(`details${options.kind ? "." + options.kind : ""}`, { open: options.open }, el("summary", null, title), content);
}

const MOST_SHOWN = 100000;

/** *text* as it is; of a very long one its beginning, and a button for all of it. */
function plain(text, kind = "plain") {
  const block = el(`pre.${kind}`, { dir: "auto" }, text.slice(0, MOST_SHOWN));
  if (text.length <= MOST_SHOWN) return block;
  const rest = format.count(text.length - MOST_SHOWN, "more character");
  const more = el("button.quiet", { type: "button", onclick: () => { fill(block, text); more.remove(); } }, `Show ${rest}`);
  return [block, more];
}

/** A button that copies what *text* returns, which may take a while. */
function copyButton(what, text, label = "Copy") {
  const button = el("button.copy", { type: "button", "aria-label": `Copy ${what}` }, label);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(await text());
      say(`Copied ${what}.`);
      button.textContent = "Copied";
    } catch {
      say("The browser does not let the page copy.");
      button.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
  return button;
}

/** Tell people who cannot see the page what happened on it. */
function say(text) {
  document.getElementById("said").textContent = text;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

const format = {
  duration(seconds) {
    if (seconds === null || seconds === undefined) return "running";
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  },
  /** A duration, or nothing where none was measured. */
  known(seconds) {
    return seconds === null || seconds === undefined ? "" : format.duration(seconds);
  },
  ago(at) {
    const seconds = Date.now() / 1000 - at;
    const unit = UNITS.find(([, length]) => seconds >= length);
    return unit ? relative.format(-Math.floor(seconds / unit[1]), unit[0]) : "just now";
  },
  count(number, one, many) {
    return number ? `${number.toLocaleString("en")} ${number === 1 ? one : many || one + "s"}` : "";
  },
  number(value) {
    return (value || 0).toLocaleString("en");
  },
  speed(rate) {
    return rate ? `${rate < 100 ? rate.toFixed(1) : format.number(Math.round(rate))} tok/s` : "";
  },
  tokens(given, made) {
    return given || made ? `${format.number(given)} → ${format.number(made)} tokens` : "";
  },
  dollars(cost) {
    if (cost === null || cost === undefined) return "";
    return cost >= 1 ? `$${cost.toFixed(2)}` : `$${Number(cost.toPrecision(2))}`;
  },
  json(text) {
    try {
      return JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      return text;
    }
  },
};

/** A moment, in words that age, with the date behind them. */
function moment(at) {
  const date = new Date(at * 1000);
  return el("time", { dateTime: date.toISOString(), title: date.toLocaleString() }, format.ago(at));
}

function letTimeAge() {
  for (const time of document.querySelectorAll("time")) time.textContent = format.ago(Date.parse(time.dateTime) / 1000);
}

/** How a run ended, in a word, and how many of its steps failed. */
function outcomeOf(run, errors) {
  return [el(`span.outcome.${run.outcome}`, null, run.outcome), errors ? [" ", el("span.bad", null, format.count(errors, "error"))] : null];
}

function joined(...parts) {
  return parts.filter(Boolean).join(" · ");
}

function firstLine(text) {
  const line = text.trimStart().slice(0, 200).split("\n")[0];
  return line.length > 120 || line.length < text.trim().length ? `${line.slice(0, 119).trimEnd()} …` : line;
}
