"use strict";
// What models, agents and tools did, and what happened day by day.

const GROUPS = ["model", "agent", "tool", "day"];
const COLUMNS = {
  calls: ["calls", format.number],
  errors: ["errors", (count) => el(count ? "span.bad" : "span", null, format.number(count))],
  "tokens in": ["input_tokens", format.number],
  "tokens out": ["output_tokens", format.number],
  median: ["p50", format.duration],
  "90 %": ["p90", format.duration],
  "first token": ["first_token_seconds", format.known],
  speed: ["tokens_per_second", format.speed],
  cost: ["cost", format.dollars],
};

function showStats(rows, by) {
  const { filters } = place();
  const most = Math.max(...rows.map((row) => row.calls), 1);
  const columns = Object.entries(COLUMNS).filter(([name, [field]]) => name === "errors" || rows.some((row) => row[field]));
  const name = (row) => (by === "day" ? row.name : el("a", { href: hrefOf("", [], { ...filters, [by]: row.name }) }, row.name));
  return [
    el("a.back", { href: hrefOf("") }, "← all runs"),
    el("h2", { tabIndex: -1 }, "Statistics"),
    el("p.soft", null, "Replays are left out."),
    el(".bar", null,
      el("nav.tabs", { "aria-label": "Groups" }, GROUPS.map((group) => el("a", { href: hrefOf("stats", [group]), "aria-current": group === by ? "page" : null }, `by ${group}`))),
      el(".compare", null, selectPeriod(filters.time, (time) => { location.hash = hrefOf("stats", [by], { ...filters, time }); }))),
    rows.length ? el(".wide", { tabIndex: 0, role: "region", "aria-label": "Statistics" }, el("table.stats", null,
      el("thead", null, el("tr", null, el("th", { scope: "col" }, by), columns.map(([title]) => el("th.right", { scope: "col" }, title)))),
      el("tbody", null, rows.map((row) => el("tr", null,
        el("th", { scope: "row" }, name(row), share(row.calls / most)),
        columns.map(([, [field, words]]) => el("td.right", null, words(row[field])))))))) : el("p.soft", null, "Nothing was called in this time."),
  ];
}

function share(part) {
  const bar = el("span");
  bar.style.width = `${part * 100}%`;
  return el("span.share", { "aria-hidden": "true" }, bar);
}
