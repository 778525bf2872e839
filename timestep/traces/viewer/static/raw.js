"use strict";
// The bytes of a run's model calls, and the answer that was read from them.

function showRaw(run) {
  const calls = run.spans.filter((span) => span.exchanges.length);
  if (!calls.length) return el("p.soft", null, "No bytes are stored: only Ollama models keep them, and only while their content may be recorded.");
  return calls.map((span) => el("section.raw", null,
    el("h3", null, span.name),
    span.exchanges.map((exchange) => el(".exchange", null,
      el("p.mono", null, `POST ${exchange.url} → ${exchange.status ?? "no answer"}`),
      lazyBody("Request", exchange.request),
      lazyBody("Response", exchange.response))),
    span.data.output ? joinedAnswer(span.data.output) : el("p.soft", null, "No answer was read from it.")));
}

function joinedAnswer(output) {
  const text = JSON.stringify(output, null, 2);
  return withCopy(folded("Answer, joined", plain(text), { open: true }), "the answer", () => text);
}

/** A body that is fetched when it is opened or copied. */
function lazyBody(title, digest) {
  const content = el("div", null, "…");
  const details = folded(title, content);
  details.addEventListener("toggle", async () => {
    try {
      fill(content, plain(format.json(await source.body(digest))));
    } catch (error) {
      fill(content, error.message);
    }
  }, { once: true });
  return withCopy(details, `the ${title.toLowerCase()}`, () => source.body(digest));
}

function withCopy(details, what, text) {
  return el(".body", null, details, copyButton(what, text));
}
