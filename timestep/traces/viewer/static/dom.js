"use strict";
// Every text goes through textContent: what a model wrote stays text.

/** An element with attributes, listeners (on…) and children; null children are left out. */
function el(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== "") element.append(child);
  }
  return element;
}

/** *text* behind a line that opens it. */
function folded(title, content, options = {}) {
  return el(`details${options.kind ? "." + options.kind : ""}`, { open: options.open }, el("summary", null, title), content);
}

function plain(text) {
  return el("pre.plain", null, text);
}

const format = {
  duration(seconds) {
    if (seconds === null || seconds === undefined) return "running";
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  },
  when(at) {
    const date = new Date(at * 1000);
    const today = new Date().toDateString() === date.toDateString();
    return today ? date.toLocaleTimeString() : date.toLocaleString();
  },
  count(number, one, many) {
    return number ? `${number.toLocaleString("en")} ${number === 1 ? one : many || one + "s"}` : "";
  },
  speed(rate) {
    return rate ? `${rate < 100 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en")} tok/s` : "";
  },
  tokens(given, made) {
    return given || made ? `${(given || 0).toLocaleString("en")} → ${(made || 0).toLocaleString("en")} tokens` : "";
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

function runHref(id, tab = "conversation") {
  return `#/run/${encodeURIComponent(id)}/${tab}`;
}

function joined(...parts) {
  return parts.filter(Boolean).join(" · ");
}
