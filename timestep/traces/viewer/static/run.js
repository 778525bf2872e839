"use strict";
// One run: its conversation, its spans over time, the bytes of its models.

const MODEL_KINDS = ["generation", "response"];
const TABS = { conversation: "Conversation", waterfall: "Waterfall", raw: "Raw" };

function showRun(run, tab, options) {
  const errors = run.spans.filter((span) => span.error).length;
  return [
    options.back ? el("a.back", { href: "#/" }, "← all runs") : null,
    el(".title", null,
      el("h2", null, run.name),
      run.ended_at === null ? el("span.badge", null, "running") : null,
      errors ? el("span.badge.bad", null, format.count(errors, "failed step")) : null),
    el("p.facts-line", null, joined(
      new Date(run.started_at * 1000).toLocaleString(),
      run.ended_at === null ? "" : format.duration(run.total_seconds),
      totals(run))),
    el("p.facts-line.mono", null, run.trace_id),
    el(".bar", null,
      el("nav.tabs", { "aria-label": "Views" }, Object.entries(TABS).map(([name, title]) =>
        el("a", { href: runHref(run.trace_id, name), "aria-current": name === tab ? "page" : null }, title))),
      options.compare ? compareWith(run, options.compare) : null),
    { conversation: showConversation, waterfall: showWaterfall, raw: showRaw }[tab](run),
  ];
}

function totals(run) {
  const calls = run.spans.filter((span) => MODEL_KINDS.includes(span.kind));
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
  const choose = (event) => { if (event.target.value) location.hash = `#/diff/${encodeURIComponent(run.trace_id)}/${encodeURIComponent(event.target.value)}`; };
  return el(".compare", null, el("select", { "aria-label": "Compare with", onchange: choose },
    el("option", { value: "" }, "Compare with …"),
    runs.filter((other) => other.trace_id !== run.trace_id).map((other) =>
      el("option", { value: other.trace_id }, `${other.name}, ${format.when(other.started_at)}`))));
}

// Conversation

function showConversation(run) {
  const spans = new Map(run.spans.map((span) => [span.span_id, span]));
  const results = toolResults(run);
  const steps = run.conversation.map((step) => showStep(spans.get(step.span_id), step.messages, results));
  const failures = run.spans.filter((span) => span.error && !MODEL_KINDS.includes(span.kind)).map(showFailure);
  if (!steps.length) return [failures, el("p.soft", null, "No model was called.")];
  return [failures, steps];
}

function showStep(span, messages, results) {
  return el("section.step", null,
    el(".head", null, el("strong", null, span.name), el("span", null, joined(
      span.ended_at === null ? "running" : format.duration(span.total_seconds),
      format.tokens(span.input_tokens, span.output_tokens),
      format.speed(span.tokens_per_second),
      format.dollars(span.cost),
      span.first_token_seconds ? `first token ${format.duration(span.first_token_seconds)}` : "")),
      span.context_fill ? fillOf(span) : null),
    span.error ? showFailure(span) : null,
    messages.map((message) => showMessage(message, results)));
}

function fillOf(span) {
  const percent = Math.round(span.context_fill * 100);
  const bar = el("span");
  bar.style.width = `${Math.min(100, percent)}%`;
  return el("span", { title: `of ${span.context_length.toLocaleString("en")} tokens` },
    "context ", el(`span.meter${percent > 90 ? ".full" : ""}`, null, bar), ` ${percent} %`);
}

function showMessage(message, results) {
  const role = message.role === "tool" && message.name ? `tool ${message.name}` : message.role;
  const long = ["tool", "system"].includes(message.role) && (message.text.length > 100 || message.text.includes("\n"));
  return el(`article.message.${message.role.replace(/\W/g, "")}`, null,
    el(".role", null, role),
    message.thinking ? folded("thinking", plain(message.thinking), { kind: "thinking" }) : null,
    message.text ? (long ? folded(firstLine(message.text), plain(message.text), { kind: "long" }) : el("pre", null, message.text)) : null,
    message.images ? el(".soft", null, format.count(message.images, "image")) : null,
    message.calls.map((call) => folded(call, plain(results.get(call) || "no result recorded"), { kind: "call" })));
}

function firstLine(text) {
  const line = text.trim().split("\n")[0];
  return line.length > 100 ? `${line.slice(0, 99)}…` : line;
}

/** What each call gave, by the call as it is shown. */
function toolResults(run) {
  const found = new Map();
  for (const span of run.spans) {
    if (span.kind === "function") found.set(span.headline, String(span.data.output ?? ""));
  }
  return found;
}

function showFailure(span) {
  const data = span.error.data || {};
  return el(".failure", { role: "alert" }, el("strong", null, `${span.kind} ${span.name}: `),
    joined(span.error.message, typeof data === "object" ? data.error : ""));
}

// Waterfall

function showWaterfall(run) {
  const end = Math.max(...run.spans.map((span) => span.ended_at || span.started_at), run.ended_at || 0);
  const length = Math.max(end - run.started_at, 0.001);
  const detail = el("div");
  const rows = run.spans.map((span) => waterfallRow(span, run.started_at, length, () => {
    detail.replaceChildren(showSpan(span));
    detail.scrollIntoView({ block: "nearest" });
  }));
  return [
    el(".legend", null, el("span.agent", null, "agent"), el("span.model", null, "model"),
      el("span.tool", null, "tool"), el("span", null, "other"), el("span.failed", null, "failed")),
    el(".waterfall", null, rows),
    detail,
  ];
}

function waterfallRow(span, start, length, choose) {
  const left = ((span.started_at - start) / length) * 100;
  const width = ((span.total_seconds ?? length - (span.started_at - start)) / length) * 100;
  const state = span.error ? ".failed" : span.ended_at === null ? ".open" : "";
  const bar = el(`span.kind-${span.kind.replace(/\W/g, "")}${state}`, { title: format.duration(span.total_seconds) });
  bar.style.left = `${Math.max(0, left)}%`;
  bar.style.width = `${Math.min(100 - left, width)}%`;
  const name = el(".what", null, el("button", { onclick: choose, title: span.headline }, span.headline));
  name.style.paddingLeft = `${Math.min(span.depth, 8) * 12}px`;
  return [name, el(".track", null, bar), el(".long", null, format.duration(span.total_seconds))];
}

function showSpan(span) {
  const measures = { "first token": span.first_token_seconds, load: span.load_seconds, prompt: span.prompt_seconds, output: span.output_seconds };
  return el("section.span", null,
    el("h3", null, `${span.kind} ${span.name}`),
    el("p.soft", null, joined(format.duration(span.total_seconds), format.tokens(span.input_tokens, span.output_tokens),
      ...Object.entries(measures).map(([name, seconds]) => (seconds ? `${name} ${format.duration(seconds)}` : "")))),
    span.error ? showFailure(span) : null,
    plain(JSON.stringify(span.data, null, 2)));
}

// Raw

function showRaw(run) {
  const calls = run.spans.filter((span) => span.exchanges.length);
  if (!calls.length) return el("p.soft", null, "No bytes are stored: only Ollama models keep them, and only while their content may be recorded.");
  return calls.flatMap((span) => span.exchanges.map((exchange) => el("section.raw", null,
    el("p", null, el("strong", null, span.name), ` POST ${exchange.url} → ${exchange.status ?? "no answer"}`),
    lazyBody("Request", exchange.request),
    lazyBody("Response", exchange.response))));
}

/** A body that is fetched when it is opened. */
function lazyBody(title, digest) {
  const content = el("pre", null, "…");
  const details = el("details", null, el("summary", null, title), content);
  details.addEventListener("toggle", async () => {
    if (details.open) content.textContent = format.json(await source.body(digest));
  }, { once: true });
  return details;
}
