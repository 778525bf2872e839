"use strict";
// The list of runs with its filters.

const PAGE = 50;

class RunList {
  constructor(onFilter) {
    this.runs = [];
    this.filters = {};
    this.limit = PAGE;
    this.onFilter = onFilter;
    this.items = el("ul", { "aria-label": "Runs" });
    this.selects = Object.fromEntries(["model", "agent", "tool"].map((name) => [name, this.select(name)]));
    const search = el("input", { type: "search", placeholder: "Search in questions, answers, tools", "aria-label": "Search" });
    let waiting;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.filter("text", search.value.trim()), 150);
    });
    const failed = el("input", { type: "checkbox", onchange: (event) => this.filter("failed", event.target.checked ? "1" : "") });
    this.element = el("section.runs", null,
      el(".filters", null, search, Object.values(this.selects), el("label.check", null, failed, "failed only")),
      this.items);
  }

  select(name) {
    return el("select", { "aria-label": name, onchange: (event) => this.filter(name, event.target.value) }, el("option", { value: "" }, `any ${name}`));
  }

  filter(name, value) {
    this.filters[name] = value;
    this.limit = PAGE;
    this.onFilter();
  }

  async load() {
    const [runs, values] = await Promise.all([source.runs({ ...this.filters, limit: this.limit }), source.values()]);
    this.runs = runs;
    for (const [name, select] of Object.entries(this.selects)) this.offer(select, name, values[name]);
  }

  offer(select, name, values) {
    const known = new Set([...select.options].map((option) => option.value));
    for (const value of values) if (!known.has(value)) select.append(el("option", { value }, value));
  }

  show(current) {
    const more = this.runs.length === this.limit
      ? el("button.more", { onclick: () => { this.limit += PAGE; this.onFilter(); } }, "Show older runs") : null;
    const items = this.runs.map((run) => el("li", null, this.row(run, run.trace_id === current)));
    if (!items.length) items.push(el("li.nothing", null, "No such run."));
    this.items.replaceChildren(...items, ...(more ? [more] : []));
  }

  row(run, isCurrent) {
    return el("a.run", { href: runHref(run.trace_id), "aria-current": isCurrent ? "page" : null },
      el(".line", null, el("span.name", null, run.name), el("span.when", null, format.when(run.started_at))),
      el(".facts", null, joined(run.agents.join(", "), run.models.join(", "))),
      el(".facts", null, joined(format.duration(run.total_seconds), format.count(run.calls, "call"),
        format.count(run.tools, "tool"), format.tokens(run.input_tokens, run.output_tokens), format.dollars(run.cost)),
        run.errors ? el("span.bad", null, ` · ${format.count(run.errors, "error")}`) : null));
  }
}
