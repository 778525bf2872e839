"use strict";
// The address says what is shown, so that it can be shared: #/run/ID/VIEW/STEP?outcome=failed

/** What the address names, and the filters of the list. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [kind, ...names] = path.split("/").map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { kind, names, path, filters: Object.fromEntries(new URLSearchParams(query || "")) };
}

/** The address of a place, with the filters of this one unless others are given. */
function hrefOf(kind, names = [], filters = place().filters) {
  const query = new URLSearchParams(Object.entries(filters).filter(([, value]) => value)).toString();
  return `#/${[kind, ...names].filter(Boolean).map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

function runHref(id, view = "conversation", step = null) {
  return hrefOf("run", [id, view, step]);
}

const PERIODS = { hour: ["the last hour", 3600], day: ["the last day", 86400], week: ["the last week", 604800], month: ["the last 30 days", 2592000] };

/** The Unix time when the period called *name* began, or nothing. */
function beginOf(name) {
  return PERIODS[name] ? Math.floor(Date.now() / 1000 - PERIODS[name][1]) : "";
}

/** A choice of *options*, pairs of value and words. */
function select(label, options, value, choose) {
  const box = el("select", { "aria-label": label, onchange: (event) => choose(event.target.value) },
    options.map(([each, words]) => el("option", { value: each }, words)));
  if (value && !options.some(([each]) => each === value)) put(box, [el("option", { value }, value)]);
  box.value = value || "";
  return box;
}

function selectPeriod(value, choose) {
  return select("time", [["", "any time"], ...Object.entries(PERIODS).map(([name, [words]]) => [name, words])], value, choose);
}
