// Requests to the server this page comes from.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Kept for this tab only.
const storedKey = () => {
  try {
    return sessionStorage.getItem("ink.key");
  } catch {
    return null;
  }
};
let key = storedKey();

export function useKey(newKey) {
  key = newKey;
  try {
    sessionStorage.setItem("ink.key", newKey);
  } catch {
    // It holds until the page is closed.
  }
}

async function request(path, options = {}) {
  const headers = {...options.headers};
  if (key) headers["Authorization"] = "Bearer " + key;
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const message = body?.error?.message ?? `The server answered ${response.status}.`;
  if (response.status === 401) document.dispatchEvent(new CustomEvent("ink-key-wanted"));
  throw new ApiError(response.status, message);
}

export async function getJson(path) {
  return (await request(path)).json();
}

export async function postJson(path, body, signal) {
  const headers = {"Content-Type": "application/json"};
  return (await request(path, {method: "POST", headers, body: JSON.stringify(body), signal})).json();
}

// The events of a streamed completion, as objects. Ends early, without an error, once signal is aborted.
export async function* complete(body, signal) {
  try {
    const response = await request("v1/completions", {
      method: "POST",
      headers: {"Content-Type": "application/json"},
      body: JSON.stringify({...body, stream: true}),
      signal,
    });
    yield* events(response.body);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof ApiError) throw error;
    throw new ApiError(0, "The connection to the server was lost.");
  }
}

// Server-sent events, as the HTML standard has them; of their fields only data is used here.
async function* events(stream) {
  let text = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) throw new ApiError(0, "The server ended the answer too early.");
    text += value;
    const blocks = text.replaceAll("\r\n", "\n").split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (data === "") continue;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(event.error.code ?? 0, event.error.message ?? "The server failed.");
      yield event;
    }
  }
}
