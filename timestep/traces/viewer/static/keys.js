"use strict";
// Keys for people who like them. A key that somebody types into a field is not one of ours.

const KEYS = {
  j: ["next run", () => stepThroughRuns(1)],
  k: ["previous run", () => stepThroughRuns(-1)],
  "/": ["search", () => document.querySelector("input[type=search]")?.focus()],
  1: ["conversation", () => document.querySelectorAll(".tabs a")[0]?.click()],
  2: ["waterfall", () => document.querySelectorAll(".tabs a")[1]?.click()],
  3: ["raw requests and answers", () => document.querySelectorAll(".tabs a")[2]?.click()],
  e: ["open or close everything", () => toggleAll()],
  c: ["copy the link to this page", () => document.querySelector(".copy.link")?.click()],
  s: ["statistics", () => { location.hash = hrefOf("stats"); }],
  l: ["all runs", () => { location.hash = hrefOf(""); }],
  "?": ["these keys", () => showKeys()],
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const isField = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape" && isField) event.target.blur();
    if (isField || document.querySelector("dialog[open]") || !Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key][1]();
  });
}

function stepThroughRuns(step) {
  const runs = [...document.querySelectorAll("a.run")];
  const current = runs.findIndex((run) => run.getAttribute("aria-current") === "page");
  const next = runs[current < 0 ? 0 : current + step];
  next?.click();
  next?.scrollIntoView({ block: "nearest" });
}

function toggleAll() {
  const folds = [...document.querySelectorAll(".detail details")];
  const isOpen = folds.every((fold) => fold.open);
  for (const fold of folds) fold.open = !isOpen;
}

function showKeys() {
  const dialog = el("dialog.keys", { "aria-label": "Keys", onclose: () => dialog.remove() },
    el("h2", null, "Keys"),
    el("dl.facts", null, Object.entries(KEYS).map(([key, [what]]) => [el("dt", null, el("kbd", null, key)), el("dd", null, what)])),
    el("form", { method: "dialog" }, el("button.quiet", { autofocus: true }, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}
