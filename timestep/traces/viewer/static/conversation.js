"use strict";
// What a run said: its agents, their model calls, tools and handoffs, and errors where they happened.

const isModelCall = (span) => span.kind === "generation" || span.kind === "response";

function showConversation(run) {
  const story = storyOf(run);
  const outer = [...story.tasks.values()].filter((task) => !task.tool);
  if (!outer.length) return el("p.soft", null, "No model was called.");
  return sideBySide(outer).map((tasks) => (tasks.length === 1 ? showTask(story, tasks[0]) : showLanes(story, tasks)));
}

/** A run ordered for telling: what each of its tasks did, and which tool began a task. */
function storyOf(run) {
  const spans = new Map(run.spans.map((span) => [span.span_id, span]));
  const messages = new Map(run.conversation.map((step) => [step.span_id, step.messages]));
  const calls = run.conversation.flatMap((step) => step.messages.flatMap((message) => message.calls));
  const ofCalls = new Set(calls.map((call) => call.span_id));
  const tasks = new Map();
  for (const span of run.spans) {
    const isTold = isModelCall(span) || ["handoff", "guardrail"].includes(span.kind) || span.error || span.kind === "function";
    if (!isTold || ofCalls.has(span.span_id)) continue;
    const key = span.kind === "task" ? span.span_id : span.task;
    if (!tasks.has(key)) tasks.set(key, { tool: toolAround(spans, key, ofCalls), items: [], start: Infinity, end: 0 });
    const task = tasks.get(key);
    const at = isModelCall(span) || !span.error ? span.started_at : span.ended_at ?? Infinity;
    task.items.push({ span, at });
    task.start = Math.min(task.start, span.started_at);
    task.end = Math.max(task.end, span.ended_at ?? Infinity);
  }
  for (const task of tasks.values()) task.items.sort((one, other) => one.at - other.at);
  return { id: run.trace_id, spans, messages, tasks, answered: new Set(calls.map((call) => call.call_id).filter(Boolean)) };
}

/** The tool that began the task *key*, when its call is shown. */
function toolAround(spans, key, ofCalls) {
  let span = spans.get(key);
  while (span && span.kind !== "function") span = spans.get(span.parent_id);
  return span && ofCalls.has(span.span_id) ? span.span_id : null;
}

/** *tasks* in groups: those of a group ran at the same time. */
function sideBySide(tasks) {
  const groups = [];
  let end = -Infinity;
  for (const task of [...tasks].sort((one, other) => one.start - other.start)) {
    if (task.start < end) groups.at(-1).push(task);
    else groups.push([task]);
    end = Math.max(end, task.end);
  }
  return groups;
}

function showLanes(story, tasks) {
  return el(".lanes", { role: "group", "aria-label": "Runs at the same time" }, tasks.map((task, index) =>
    el("section.lane", null, el("h3.lane-title", null, `Run ${index + 1} of ${tasks.length}, at the same time`), showTask(story, task))));
}

function showTask(story, task) {
  const told = new Set();
  let agent = null;
  return task.items.map(({ span }) => {
    const isNext = isModelCall(span) && span.agent && span.agent !== agent;
    if (isNext) agent = span.agent;
    const error = JSON.stringify(span.error);
    // An error is told once, although the spans around it have it too.
    const isNew = span.error && span.kind !== "function" && !told.has(error);
    told.add(error);
    return [isNext ? el("h3.agent", null, story.spans.get(agent).name) : null, showItem(story, span), isNew ? showFailure(span) : null];
  });
}

function showItem(story, span) {
  if (isModelCall(span)) return showStep(story, span);
  if (span.kind === "handoff") return el("p.handoff", null, span.headline);
  if (span.kind === "guardrail") return el(`p.guardrail${span.data.triggered ? ".bad" : ""}`, null, `guardrail ${span.headline}`);
  if (span.kind === "function") return el("article.message.bare", null, showCall(story, { text: span.headline, span_id: span.span_id, result: span.data.output }));
  return null;
}

/** Scroll to the step that the address names. */
function goToStep(id) {
  if (id) document.getElementById(`step-${id}`)?.scrollIntoView();
}

function showStep(story, span) {
  return el("section.step", { id: `step-${span.span_id}`, "aria-label": `call of ${span.name}` },
    el(".head", null,
      el("strong", null, span.name),
      el("span", null, joined(
        format.duration(span.total_seconds),
        format.tokens(span.input_tokens, span.output_tokens),
        format.speed(span.tokens_per_second),
        format.dollars(span.cost),
        span.first_token_seconds ? `first token ${format.duration(span.first_token_seconds)}` : "")),
      span.outcome === "cut" ? el("span.outcome.cut", null, "cut at the token limit") : null,
      span.context_fill ? fillOf(span) : null,
      settingsOf(story, span),
      el("a.anchor", { href: runHref(story.id, "conversation", span.span_id), "aria-label": "Link to this step", title: "Link to this step" }, "#")),
    (story.messages.get(span.span_id) || []).map((message) => showMessage(story, message)));
}

function fillOf(span) {
  const percent = Math.round(span.context_fill * 100);
  const bar = el("span");
  bar.style.width = `${Math.min(100, percent)}%`;
  return el("span", { title: `of ${format.number(span.context_length)} tokens` },
    "context ", el(`span.meter${percent > 90 ? ".full" : ""}`, null, bar), ` ${percent} %`);
}

function showMessage(story, message) {
  if (message.role === "tool" && story.answered.has(message.call_id)) return null; // it stands with its call
  const role = message.role === "tool" && message.name ? `tool ${message.name}` : message.role;
  const isCallsOnly = message.calls.length && !message.text && !message.thinking && !message.images;
  return el(`article.message.${message.role.replace(/\W/g, "")}${isCallsOnly ? ".bare" : ""}`, { "aria-label": role },
    message.text || !message.calls.length ? el(".role", null, role, message.text ? copyButton("the message", () => message.text) : null) : null,
    message.thinking ? thinking(message.thinking) : null,
    message.text ? textOf(message) : null,
    message.images ? el(".soft", null, format.count(message.images, "image")) : null,
    message.calls.map((call) => showCall(story, call)));
}

function textOf({ role, text }) {
  if (role === "assistant") return markdown(text);
  return role === "user" ? plain(text, "said") : preview(text, "long");
}

/** *text* behind its first line, unless that is all of it. */
function preview(text, kind) {
  const line = firstLine(text);
  return line === text.trim() ? el("p", { dir: "auto" }, line) : folded(line, plain(text), { kind });
}

function thinking(text) {
  return el(".thinking", null, el("span.label", null, "thinking"), preview(text, "thought"));
}

function showCall(story, call) {
  const span = story.spans.get(call.span_id);
  const result = typeof call.result === "string" ? call.result : JSON.stringify(call.result ?? null);
  const hasResult = call.result !== null && call.result !== undefined;
  const inner = [...story.tasks.values()].filter((task) => span && task.tool === span.span_id);
  const summary = [
    el("span.name", null, call.text),
    span ? el("span.took", null, format.duration(span.total_seconds)) : null,
    span?.error && !hasResult ? null : el("span.result", { dir: "auto" }, hasResult ? `→ ${firstLine(result)}` : span?.ended_at === null ? "running" : "→ no result recorded")];
  return [
    folded(summary, [
      inner.map((task) => el("section.inner", null, showTask(story, task))),
      hasResult ? labelled("result", result) : null,
    ], { kind: "call", open: inner.some((task) => task.items.some((item) => item.span.error)) }),
    span?.error ? showFailure(span) : null];
}

/** A value under its name, with a button that copies it. */
function labelled(label, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value ?? null);
  return [el(".role", null, label, copyButton(`the ${label}`, () => text)), plain(format.json(text))];
}

/** What went wrong in a step: for an exception its type, its message and its line. */
function showFailure(span) {
  const { message, data } = span.error;
  const { error, place: line, tool_name: _, ...more } = data && typeof data === "object" ? data : { error: data };
  return el(".failure", null,
    el("strong", null, `${span.kind === "function" ? "tool" : isModelCall(span) ? "model" : span.kind} ${span.name}: ${message ?? ""}`),
    error ? plain(typeof error === "string" ? error : JSON.stringify(error, null, 2)) : null,
    line ? el("p.mono", null, `at ${line}`) : null,
    Object.entries(more).filter(([, value]) => value !== null && value !== "").map(([name, value]) => showDetail(name, value)));
}

function showDetail(name, value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return text.includes("\n") ? folded(name, plain(text)) : el("p.mono", null, `${name}: ${text}`);
}

/** What a model was asked with, beside the messages. It is read from the stored request when it is opened. */
function settingsOf(story, span) {
  const content = el("div");
  const details = folded("settings and tools", content, { kind: "settings" });
  details.addEventListener("toggle", async () => {
    const { settings, tools } = await askedWith(story, span);
    fill(content,
      settings.length ? el("dl.facts", null, settings.map(([name, value]) => [el("dt", null, name), el("dd", null, value)])) : el("p.soft", null, "No settings are recorded."),
      tools.length ? tools.map(showTool) : el("p.soft", null, "No tools are recorded."));
  }, { once: true });
  return details;
}

async function askedWith(story, span) {
  const config = span.data.model_config || {};
  let request = { ...config, tools: span.data.tools || story.spans.get(span.agent)?.data.tools };
  if (span.exchanges.length) {
    try {
      request = JSON.parse(await source.body(span.exchanges.at(-1).request));
    } catch {} // a damaged request: what the span says has to do
  }
  const { messages, input, instructions, tools, ...settings } = request;
  const isSaid = ([, value]) => value !== null && value !== "" && !(typeof value === "object" && !Object.keys(value).length);
  const words = ([name, value]) => [name, typeof value === "string" ? value : JSON.stringify(value)];
  return { settings: Object.entries(settings).filter(isSaid).map(words), tools: Array.isArray(tools) ? tools : [] };
}

function showTool(tool) {
  const { name, description, parameters } = typeof tool === "string" ? { name: tool } : tool.function || tool;
  const title = [el("span.name", null, String(name ?? tool.type)), description ? ` ${description}` : ""];
  return parameters ? folded(title, plain(JSON.stringify(parameters, null, 2)), { kind: "tool" }) : el("p.tool", null, title);
}
