"use strict";
// Shows what the address names, and follows the record while agents run.

const main = document.getElementById("main");
const detail = el("section.detail", { "aria-label": "Details" });

function fail(error) {
  fill(detail, el(".failure", { role: "alert" }, error.message));
}

function entitle(words) {
  document.title = shown(words ? `${words} · timestep` : "timestep traces");
}

async function startFile() {
  main.className = "single";
  main.replaceChildren(detail);
  const run = await source.run();
  const show = () => {
    const [, view, step] = place().names;
    fill(detail, showRun(run, view in VIEWS ? view : "conversation", step));
    goToStep(step);
  };
  entitle(run.title);
  fill(document.getElementById("top"), el("h1", null, "timestep trace"), keysButton());
  window.addEventListener("hashchange", show);
  listenToKeys();
  show();
}

function keysButton() {
  return el("button.quiet.keys-button", { type: "button", title: "Keys", "aria-label": "Keys", onclick: showKeys }, "?");
}

async function startServer() {
  const live = el("span.live", { role: "status" }, "connecting");
  const links = el("nav", { "aria-label": "Pages" });
  fill(document.getElementById("top"), el("h1", null, el("a", { href: "#/" }, "timestep traces")), links, live, keysButton());
  const list = new RunList();
  main.replaceChildren(list.element, detail);

  let path = null; // of the page that is shown
  let asked = null; // the filters of the list that is shown
  async function show() {
    const { kind, names, path: wanted, filters } = place();
    main.classList.toggle("has-run", kind === "run" || kind === "diff" || kind === "stats");
    fill(links, [["", "Runs"], ["stats", "Statistics"]].map(([page, words]) =>
      el("a", { href: hrefOf(page), "aria-current": (page === "stats") === (kind === "stats") ? "page" : null }, words)));
    if (asked !== JSON.stringify(filters)) await list.load();
    asked = JSON.stringify(filters);
    list.show(names[0]);
    const [content, words] = await contentOf(kind, names, list.runs);
    if (place().path !== wanted) return; // somebody clicked on
    const open = path === wanted ? openFolds() : null;
    fill(detail, content);
    entitle(words);
    if (open) openAgain(open);
    else detail.scrollTop = 0;
    if (path !== wanted) goToStep(names[2]);
    // What had the focus may be gone from the page.
    if (path !== null && !open && document.activeElement === document.body) detail.querySelector("h2")?.focus({ preventScroll: true });
    path = wanted;
  }

  function follow() {
    const events = new EventSource("api/events");
    events.onopen = () => { live.className = "live on"; live.textContent = "live"; };
    events.onerror = () => { live.className = "live"; live.textContent = "not connected"; };
    events.addEventListener("runs", (event) => {
      const { kind, names } = place();
      const isShown = kind !== "run" || JSON.parse(event.data).includes(names[0]);
      list.load().then(() => (isShown ? show() : list.show(names[0]))).catch(fail);
    });
  }

  window.addEventListener("hashchange", () => show().catch(fail));
  listenToKeys();
  await show();
  follow();
  setInterval(letTimeAge, 30000);
}

/** What a place shows, and its title. */
async function contentOf(kind, names, runs) {
  const [first, second, step] = names;
  if (kind === "run") {
    const run = await source.run(first);
    return [showRun(run, second in VIEWS ? second : "conversation", step, runs), run.title];
  }
  if (kind === "diff") return [showDiff(await source.diff(first, second)), "two runs"];
  if (kind === "stats") {
    const by = GROUPS.includes(first) ? first : "model";
    return [showStats(await source.stats({ by, since: beginOf(place().filters.time) }), by), "statistics"];
  }
  return [el("p.empty", null, runs.length ? "Choose a run." : "Runs appear here as they happen."), ""];
}

/** Which folds are open, so that an update leaves them so. */
function openFolds() {
  return [...detail.querySelectorAll("details")].map((details) => details.open);
}

function openAgain(open) {
  [...detail.querySelectorAll("details")].forEach((details, index) => { if (index in open) details.open = open[index]; });
}

(source.isLive ? startServer() : startFile()).catch(fail);
