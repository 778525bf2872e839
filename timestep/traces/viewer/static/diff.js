"use strict";
// Two runs side by side.

function showDiff(diff) {
  const different = diff.pairs.filter((pair) => !pair.same).length;
  const title = (run) => el("div", null, el("a", { href: runHref(run.trace_id) }, run.title),
    el(".soft", null, new Date(run.started_at * 1000).toLocaleString()),
    el(".soft", null, joined(format.duration(run.total_seconds), format.tokens(run.input_tokens, run.output_tokens))),
    el(".soft", null, `The run ${run.ending}.`));
  const same = diff.same ? "Both runs did the same" : "The runs did not end the same";
  return [
    el("a.back", { href: hrefOf("") }, "← all runs"),
    el("h2", { tabIndex: -1 }, different ? `${format.count(different, "step")} differ${different === 1 ? "s" : ""}` : same),
    el(".sides-title", null, title(diff.left), title(diff.right)),
    diff.pairs.map(showPair),
  ];
}

function showPair(pair) {
  const side = (step) => (step ? el("div", null, step.headline, el(".soft", null,
    joined(step.kind, format.duration(step.total_seconds), format.tokens(step.input_tokens, step.output_tokens)))) : el(".soft", null, "not in this run"));
  return el(`section.pair${pair.same ? "" : ".differs"}`, null,
    el(".head", null, side(pair.left), side(pair.right)),
    pair.differences.length ? el(".sides", null, pair.differences.map((difference) => [
      el(".field", null, difference.field), el("div", null, plain(difference.left)), el("div", null, plain(difference.right))])) : null);
}
