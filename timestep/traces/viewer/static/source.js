"use strict";
// Where the runs come from: the server, or, in an exported file, the file itself.

async function ask(path, parameters) {
  const query = new URLSearchParams(Object.entries(parameters || {}).filter(([, value]) => value));
  const response = await fetch(`api/${path}?${query}`);
  if (!response.ok) throw new Error((await response.text()) || `The server answered ${response.status}.`);
  return response;
}

const server = {
  isLive: true,
  runs: async (filters) => (await ask("runs", filters)).json(),
  values: async () => (await ask("values")).json(),
  stats: async (parameters) => (await ask("stats", parameters)).json(),
  run: async (id) => (await ask(`runs/${encodeURIComponent(id)}`)).json(),
  diff: async (left, right) => (await ask("diff", { left, right })).json(),
  body: async (digest) => (await ask(`bodies/${encodeURIComponent(digest)}`)).text(),
};

const embedded = document.getElementById("run");
const file = embedded && JSON.parse(embedded.textContent);

const source = file ? {
  isLive: false,
  run: async () => file.run,
  body: async (digest) => { const body = file.bodies[digest]; return typeof body === "string" ? body : atob(body.base64); },
} : server;
