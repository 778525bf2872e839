"use strict";
// A run's steps over time, with the chosen one beside them: in a column, or below its row where there is no room.

const narrow = matchMedia("(max-width: 1100px)");
const TICKS = [0, 0.25, 0.5, 0.75, 1];

function showWaterfall(run, chosen) {
  if (!run.spans.length) return el("p.soft", null, "No steps are recorded.");
  const end = run.spans.reduce((latest, span) => Math.max(latest, span.ended_at || span.started_at), run.ended_at || 0);
  const length = Math.max(end - run.started_at, 0.001);
  const beside = el("aside.beside", { "aria-label": "The chosen step", tabIndex: 0 });
  const view = el(".waterfall");
  const rows = new Map();

  function choose(span) {
    for (const [id, row] of rows) row.setAttribute("aria-pressed", String(id === span.span_id));
    fill(beside, showSpan(run, span));
    beside.scrollTop = 0;
    if (narrow.matches) rows.get(span.span_id).after(beside);
    else view.append(beside);
  }

  for (const span of run.spans) {
    rows.set(span.span_id, waterfallRow(span, run.started_at, length, () => {
      history.pushState(null, "", runHref(run.trace_id, "waterfall", span.span_id));
      choose(span);
    }));
  }
  put(view, [el(".rows", { onkeydown: walk }, axis(length), rowsInLanes(run, rows))]);
  choose(run.spans.find((span) => span.span_id === chosen) || run.spans.find((span) => span.error) || run.spans.find(isModelCall) || run.spans[0]);
  return [
    el(".legend", null, el("span.agent", null, "agent"), el("span.model", null, "model"),
      el("span.tool", null, "tool"), el("span", null, "other"), el("span.failed", null, "failed")),
    view,
  ];
}

/** The rows in their order. Tasks that ran at the same time stand in lanes of their own. */
function rowsInLanes(run, rows) {
  const tasks = run.spans.filter((span) => span.kind === "task" && !span.task)
    .map((span) => ({ span, start: span.started_at, end: span.ended_at ?? Infinity }));
  const groups = sideBySide(tasks).filter((group) => group.length > 1);
  const laneOf = new Map(groups.flatMap((group) => group.map((task, index) => [task.span.span_id, `Run ${index + 1} of ${group.length}, at the same time`])));
  return run.spans.map((span) => {
    const title = laneOf.get(span.span_id);
    return [title ? el("p.lane-title", null, title) : null, rows.get(span.span_id)];
  });
}

function axis(length) {
  return el(".row.axis", { "aria-hidden": "true" }, el("span"), el("span.ticks", null, TICKS.map((share) => {
    const tick = el("span", null, share ? format.duration(length * share) : "0");
    tick.style.left = `${share * 100}%`;
    return tick;
  })), el("span"));
}

function waterfallRow(span, start, length, choose) {
  const left = Math.min(Math.max(0, ((span.started_at - start) / length) * 100), 100);
  const width = ((span.total_seconds ?? length - (span.started_at - start)) / length) * 100;
  const state = span.error ? ".failed" : span.ended_at === null ? ".open" : "";
  const bar = el(`span.stretch.kind-${span.kind.replace(/\W/g, "")}${state}`, null, firstToken(span));
  bar.style.left = `${left}%`;
  bar.style.width = `${Math.min(100 - left, Math.max(0, width))}%`;
  const name = el("span.what", null, el(`span.dot.kind-${span.kind.replace(/\W/g, "")}${state}`), el("span.words", null, span.headline), span.error ? el("span.bad", null, " failed") : null);
  name.style.paddingLeft = `${Math.min(span.depth, 8) * 12}px`;
  return el("button.row", { type: "button", onclick: choose, title: span.headline, "aria-label": joined(span.kind, span.headline, format.duration(span.total_seconds), span.error ? "failed" : "") },
    name, el("span.track", null, bar), el("span.long", null, format.duration(span.total_seconds), el("span.go", { "aria-hidden": "true" }, "›")));
}

/** The part of a bar in which a model had said nothing yet. */
function firstToken(span) {
  if (!span.first_token_seconds || !span.total_seconds) return null;
  const part = el("span.first");
  part.style.width = `${Math.min(100, (span.first_token_seconds / span.total_seconds) * 100)}%`;
  return part;
}

/** Arrow keys walk through the rows. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const rows = [...event.currentTarget.querySelectorAll("button.row")];
  const next = rows[rows.indexOf(document.activeElement) + step];
  if (!step || !next) return;
  event.preventDefault();
  next.focus();
}

function showSpan(run, span) {
  const story = storyOf(run);
  const measures = {
    took: format.duration(span.total_seconds), tokens: format.tokens(span.input_tokens, span.output_tokens), speed: format.speed(span.tokens_per_second),
    cost: format.dollars(span.cost), "first token": format.known(span.first_token_seconds), load: format.known(span.load_seconds),
    prompt: format.known(span.prompt_seconds), output: format.known(span.output_seconds), began: `${format.duration(Math.max(0, span.started_at - run.started_at))} into the run`,
  };
  const known = Object.entries(measures).filter(([, words]) => words);
  return [
    el("h3", null, span.headline),
    el("p.soft", null, joined(span.kind, span.agent ? `of ${story.spans.get(span.agent).name}` : "")),
    span.error ? showFailure(span) : null,
    el("dl.facts", null, known.map(([name, words]) => [el("dt", null, name), el("dd", null, words)])),
    isModelCall(span) ? [el("p", null, el("a", { href: runHref(run.trace_id, "conversation", span.span_id) }, "in the conversation")), settingsOf(story, span), (story.messages.get(span.span_id) || []).map((message) => showMessage({ ...story, answered: new Set() }, message))] : null,
    span.kind === "function" ? [labelled("arguments", span.data.input), labelled("result", span.data.output)] : null,
    folded("everything recorded of this step", [copyButton("the step", () => JSON.stringify(span, null, 2)), plain(JSON.stringify(span.data, null, 2))], { kind: "record" }),
  ];
}
