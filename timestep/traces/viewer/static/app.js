"use strict";
// What the address says, and what happens meanwhile.

const main = document.getElementById("main");
const detail = el("section.detail", { tabIndex: -1 });

function place() {
  const [kind, first, second] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  return { kind, first, second };
}

function fail(error) {
  detail.replaceChildren(el(".failure", { role: "alert" }, error.message));
}

async function startFile() {
  main.className = "single";
  main.replaceChildren(detail);
  const run = await source.run();
  const show = () => detail.replaceChildren(...showRun(run, place().second in TABS ? place().second : "conversation", {}).flat(Infinity).filter(Boolean));
  document.title = `${run.name} · timestep`;
  document.getElementById("top").replaceChildren(el("h1", null, "timestep trace"));
  window.addEventListener("hashchange", show);
  show();
}

async function startServer() {
  const live = el("span.live", { role: "status" }, "connecting");
  document.getElementById("top").replaceChildren(el("h1", null, el("a", { href: "#/" }, "timestep traces")), live);
  const list = new RunList(() => refresh().catch(fail));
  main.replaceChildren(list.element, detail);

  let shown = ""; // whose folds are on the page
  async function showPlace() {
    const { kind, first, second } = place();
    main.classList.toggle("has-run", kind === "run" || kind === "diff");
    list.show(first);
    if (kind === "run") {
      const run = await source.run(first);
      if (place().first !== first) return; // somebody clicked on
      const open = shown === location.hash ? openDetails() : [];
      detail.replaceChildren(...showRun(run, second in TABS ? second : "conversation", { back: true, compare: list.runs }).flat(Infinity).filter(Boolean));
      reopen(open);
      shown = location.hash;
    } else if (kind === "diff") {
      detail.replaceChildren(...showDiff(await source.diff(first, second)).flat(Infinity).filter(Boolean));
    } else {
      detail.replaceChildren(el("p.empty", null, list.runs.length ? "Choose a run." : "Runs appear here as they happen."));
    }
  }

  async function refresh() {
    await list.load();
    list.show(place().first);
  }

  function follow() {
    const events = new EventSource("api/events");
    events.onopen = () => { live.className = "live on"; live.textContent = "live"; };
    events.onerror = () => { live.className = "live"; live.textContent = "not connected"; };
    events.addEventListener("runs", (event) => {
      const changed = JSON.parse(event.data);
      refresh().then(() => {
        const { kind, first } = place();
        if (kind !== "run" || changed.includes(first)) return showPlace();
      }).catch(fail);
    });
  }

  window.addEventListener("hashchange", () => { showPlace().catch(fail); detail.scrollTop = 0; });
  await refresh();
  await showPlace();
  follow();
}

/** Which folds are open, so that an update leaves them so. */
function openDetails() {
  return [...detail.querySelectorAll("details")].map((details) => details.open);
}

function reopen(open) {
  [...detail.querySelectorAll("details")].forEach((details, index) => { if (open[index]) details.open = true; });
}

(source.isLive ? startServer() : startFile()).catch(fail);
