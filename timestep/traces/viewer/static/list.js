"use strict";
// The list of runs with its filters. What is filtered stands in the address.

const PAGE = 50;
const OUTCOMES = ["ok", "failed", "cut", "cancelled", "replayed", "running"];

class RunList {
  constructor() {
    this.runs = [];
    this.limit = PAGE;
    this.items = el("ul", { "aria-label": "Runs" });
    this.search = el("input", { type: "search", placeholder: "Search questions, answers, tools", "aria-label": "Search" });
    let waiting;
    this.search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.filter("text", this.search.value.trim()), 150);
    });
    this.choices = el(".choices");
    this.element = el("section.runs", { "aria-label": "Recorded runs" }, el(".filters", { role: "search" }, this.search, this.choices), this.items);
  }

  /** Put a filter into the address, which shows the list again. */
  filter(name, value) {
    const { kind, names, filters } = place();
    const href = hrefOf(kind, names, { ...filters, [name]: value });
    this.limit = PAGE;
    if (name === "text") location.replace(href); // going back does not undo letters
    else location.hash = href;
  }

  async load() {
    const { filters } = place();
    const { time, outcome, ...asked } = filters;
    if (outcome === "errors") asked.failed = "1";
    else asked.outcome = outcome;
    const turn = this.turn = (this.turn || 0) + 1;
    const [runs, values] = await Promise.all([source.runs({ ...asked, since: beginOf(time), limit: this.limit }), source.values()]);
    if (turn !== this.turn) return; // a later question may be answered before an earlier one
    this.runs = runs;
    if (document.activeElement !== this.search) this.search.value = filters.text || "";
    this.offer(filters, values);
  }

  offer(filters, values) {
    const offered = JSON.stringify([place(), values]);
    if (offered === this.offered) return; // a choice that somebody has opened stays open
    this.offered = offered;
    const had = document.activeElement?.getAttribute("aria-label");
    fill(this.choices,
      select("outcome", [["", "any outcome"], ...OUTCOMES.map((name) => [name, name]), ["errors", "with errors"]], filters.outcome, (value) => this.filter("outcome", value)),
      selectPeriod(filters.time, (value) => this.filter("time", value)),
      ["model", "agent", "tool"].map((name) => select(name, [["", `any ${name}`], ...values[name].map((value) => [value, value])], filters[name], (value) => this.filter(name, value))),
      Object.values(filters).some(Boolean) ? el("a.clear", { href: hrefOf(place().kind, place().names, {}) }, "clear filters") : null,
      filters.group ? el("button.quiet.group", { type: "button", title: "Show all sessions", onclick: () => this.filter("group", "") }, `× session ${filters.group}`) : null);
    [...this.choices.children].find((each) => had && each.getAttribute("aria-label") === had)?.focus();
  }

  show(current) {
    const groups = new Map();
    for (const run of this.runs) {
      const key = run.group_id || run.trace_id;
      groups.set(key, [...(groups.get(key) || []), run]);
    }
    const items = [...groups.values()].map((runs) => (runs[0].group_id ? this.session(runs, current) : this.row(runs[0], current)));
    if (!items.length) items.push(el("li.nothing", null, Object.values(place().filters).some(Boolean) ? "No such run." : "No run is recorded yet."));
    if (this.runs.length === this.limit) items.push(el("li", null, el("button.more", { type: "button", onclick: () => this.showMore() }, "Show older runs")));
    const focused = this.items.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fill(this.items, items);
    if (focused) [...this.items.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
  }

  async showMore() {
    this.limit += PAGE;
    await this.load();
    this.show(place().names[0]);
  }

  session(runs, current) {
    const name = runs[0].group_id;
    return el("li.session", null,
      el("h2", null, "session ", el("a", { href: hrefOf("", [], { group: name }), title: `Only the runs of ${name}` }, name), el("span.soft", null, ` ${format.count(runs.length, "run")}`)),
      el("ul", { "aria-label": `Session ${name}` }, runs.map((run) => this.row(run, current))));
  }

  row(run, current) {
    const { kind, names } = place();
    const view = kind === "run" && names[1] in VIEWS ? names[1] : "conversation";
    return el("li", null, el("a.run", { href: runHref(run.trace_id, view), "aria-current": run.trace_id === current ? "page" : null },
      el("span.name", { dir: "auto" }, run.title),
      run.excerpt ? el("span.answer.excerpt", { dir: "auto" }, marked(run.excerpt, place().filters.text)) : el("span.answer", { dir: "auto" }, run.answer),
      el("span.facts", null, el("span", null, outcomeOf(run, run.errors)), el("span.rest", null, joined(run.agents.join(", "), run.models.join(", ")))),
      el("span.facts", null, moment(run.started_at), el("span.rest", null, joined(run.ended_at === null ? "" : format.duration(run.total_seconds),
        format.count(run.tools, "tool"), format.tokens(run.input_tokens, run.output_tokens), format.dollars(run.cost))))));
  }
}

/** An excerpt of a search with the words that were found marked; the search put them into […]. */
function marked(excerpt, text) {
  const words = (text || "").toLowerCase().split(/\s+/).filter(Boolean);
  return excerpt.split(/(\[[^[\]]*\])/).map((part) => {
    const word = part.slice(1, -1);
    const isFound = part.startsWith("[") && words.some((each) => word.toLowerCase().includes(each.slice(0, word.length)));
    return isFound ? el("mark", null, word) : part;
  });
}
