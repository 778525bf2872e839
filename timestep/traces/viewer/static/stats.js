"use strict";
// What models, agents and tools did over time.

const COLUMNS = {
  calls: (row) => format.number(row.calls),
  errors: (row) => el(row.errors ? "span.bad" : "span", null, format.number(row.errors)),
  "tokens in": (row) => format.number(row.input_tokens),
  "tokens out": (row) => format.number(row.output_tokens),
  median: (row) => format.duration(row.p50),
  "90 %": (row) => format.duration(row.p90),
  "first token": (row) => optional(row.first_token_seconds),
  speed: (row) => format.speed(row.tokens_per_second),
  cost: (row) => format.dollars(row.cost),
};

function showStats(rows) {
  const { filters } = place();
  const choose = (name, value) => { location.hash = hrefOf("stats", [], { ...filters, [name]: value }); };
  const most = Math.max(...rows.map((row) => row.calls), 1);
  return [
    el("a.back", { href: hrefOf("") }, "← all runs"),
    el("h2", { tabIndex: -1 }, "Statistics"),
    el(".bar", null, selectPeriod(filters.time, (value) => choose("time", value))),
    rows.length ? el(".wide", { tabIndex: 0, role: "region", "aria-label": "Statistics" }, el("table.stats", null,
      el("thead", null, el("tr", null, el("th", { scope: "col" }, "model"), Object.keys(COLUMNS).map((name) => el("th.right", { scope: "col" }, name)))),
      el("tbody", null, rows.map((row) => el("tr", null,
        el("th", { scope: "row" }, el("a", { href: hrefOf("", [], { ...filters, model: row.model }) }, row.model), share(row.calls / most)),
        Object.values(COLUMNS).map((show) => el("td.right", null, show(row)))))))) : el("p.soft", null, "No model was called in this time."),
  ];
}

function share(part) {
  const bar = el("span");
  bar.style.width = `${part * 100}%`;
  return el("span.share", { "aria-hidden": "true" }, bar);
}
