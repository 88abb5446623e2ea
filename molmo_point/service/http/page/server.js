// The server, as the page needs it: refusals as errors, answers as streams of replies, a server that is gone as Gone.

const AGAIN_MS = 1500;

let token = sessionStorage.getItem("token") ?? "";

export const hasToken = () => token !== "";

export function setToken(value) {
  token = value.trim();
  sessionStorage.setItem("token", token);
}

export class Refusal extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered ${status}`);
    this.status = status;
    this.kind = error?.kind;
    this.advice = error?.advice;
  }
}

// Nobody answers, or the connection broke in the middle.
export class Gone extends Error {}

// What fetch and its streams throw, in one word.
function broken(error) {
  if (error instanceof Refusal || error.name === "AbortError") return error;
  return new Gone(error.message);
}

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    throw broken(error);
  });
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Refusal(response.status, body?.error);
}

// What the server is; where a token is needed and missing, only whether it is ready.
export async function server() {
  try {
    return await (await call("/v1/server")).json();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const health = await (await fetch("/readyz")).json();
    return { ...health, model: "ready" };
  }
}

// What the model can be asked; with a query also a note about words in it that the model does not know.
export async function modelInfo(query = "") {
  return (await call(`/v1/model?query=${encodeURIComponent(query)}`)).json();
}

// Wait; throws when `signal` is aborted.
export function pause(signal, milliseconds) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

// Wait until the server is ready again.
export async function serverBack(signal) {
  for (;;) {
    await pause(signal, AGAIN_MS);
    const health = await fetch("/readyz", { signal }).catch(() => null);
    if (health?.ok) return;
  }
}

// Open an image once for several queries; null where the server has no room for it: then each query brings it along.
export async function openView(blob, signal) {
  const body = new FormData();
  body.append("image", blob, "image");
  try {
    return (await (await call("/v1/views", { method: "POST", body, signal })).json()).handle;
  } catch (error) {
    if (error.kind === "busy") return null;
    throw error;
  }
}

export function closeView(handle) {
  call(`/v1/views/${encodeURIComponent(handle)}`, { method: "DELETE" }).catch(() => null);
}

// Yield the replies to one query as they come.
export async function* ask(what, query, { view, blob, signal }) {
  const body = new FormData();
  body.append("query", query);
  body.append("stream", "true");
  if (view) body.append("view", view);
  else body.append("image", blob, "image");
  const json = JSON.stringify({ query, view, stream: true });
  const options = view
    ? { method: "POST", body: json, signal, headers: { "Content-Type": "application/json" } }
    : { method: "POST", body, signal };
  const response = await call(`/v1/${what}`, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      throw broken(error);
    });
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (!data) continue;
      const reply = JSON.parse(data.slice(6));
      if (reply.error) throw new Refusal(200, reply.error);
      yield reply;
    }
  }
}
