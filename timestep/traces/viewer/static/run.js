"use strict";
// One run: what it was, and three views of it.

const VIEWS = { conversation: "Conversation", waterfall: "Waterfall", raw: "Raw" };

function showRun(run, view, step, compare) {
  const show = { conversation: showConversation, waterfall: showWaterfall, raw: showRaw }[view];
  return [
    source.isLive ? el("a.back", { href: hrefOf("") }, "← all runs") : null,
    el(".title", null, el("h2", { tabIndex: -1, dir: "auto" }, run.title), outcomeOf(run, run.spans.filter((span) => span.error).length)),
    el("p.facts-line", null, joined(
      new Date(run.started_at * 1000).toLocaleString(),
      run.ended_at === null ? "" : format.duration(run.total_seconds),
      totals(run))),
    run.ending === "ended well" ? null : el("p.facts-line", null, `The run ${run.ending}.`),
    el("p.facts-line", null,
      run.name === run.title ? null : [run.name, " · "],
      run.group_id ? ["session ", source.isLive ? el("a", { href: hrefOf("", [], { group: run.group_id }) }, run.group_id) : run.group_id, " · "] : null,
      el("span.mono", null, run.trace_id), " ", copyButton("the id", () => run.trace_id, "Copy id"), source.isLive ? [" ", copyLink()] : null),
    el(".bar", null,
      el("nav.tabs", { "aria-label": "Views" }, Object.entries(VIEWS).map(([name, title]) =>
        el("a", { href: runHref(run.trace_id, name), "aria-current": name === view ? "page" : null }, title))),
      compare ? compareWith(run, compare) : null),
    show(run, step),
  ];
}

function copyLink() {
  const button = copyButton("the link to this page", () => location.href, "Copy link");
  button.classList.add("link");
  return button;
}

function totals(run) {
  const calls = run.spans.filter(isModelCall);
  const sum = (name) => calls.reduce((total, span) => total + (span[name] || 0), 0);
  const tools = run.spans.filter((span) => span.kind === "function").length;
  return joined(format.count(calls.length, "model call"), format.count(tools, "tool call"),
    format.tokens(sum("input_tokens"), sum("output_tokens")), format.dollars(costOf(calls)));
}

function costOf(calls) {
  const known = calls.map((span) => span.cost).filter((cost) => cost !== null);
  return known.length ? known.reduce((total, cost) => total + cost, 0) : null;
}

function compareWith(run, runs) {
  const others = runs.filter((other) => other.trace_id !== run.trace_id)
    .map((other) => [other.trace_id, `${other.title}, ${format.ago(other.started_at)}`]);
  return el(".compare", null, select("Compare with", [["", "Compare with …"], ...others], "", (id) => {
    if (id) location.hash = hrefOf("diff", [run.trace_id, id]);
  }));
}
