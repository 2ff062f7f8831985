// The gateway's API: requests with the key, errors in the server's words, speech as events.

const KEY = "tritone-key";

/** An answer that is none. status: of HTTP; 0 where nobody answered. */
export class ServerError extends Error {
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

/** An answer of the server. Throws ServerError, and AbortError where the signal is raised. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key.get()) headers.set("Authorization", `Bearer ${key.get()}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "The server does not answer; is it still running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  try {
    const { error } = await response.json();
    return new ServerError(response.status, error.message, error.code);
  } catch {
    return new ServerError(response.status, `The server answered ${response.status} without a reason.`);
  }
}

/** Each with its `id`, and names of its `emotions`. */
export const models = async () => (await (await ask("/v1/models")).json()).data;

export const voices = async (model) =>
  (await (await ask(`/v1/audio/voices?model=${encodeURIComponent(model)}`)).json()).voices;

/** Whether this server takes new voices, as its schema says, which needs no key. */
export async function takesVoices() {
  const schema = await (await ask("/openapi.json")).json();
  return "post" in (schema.paths["/v1/audio/voices"] ?? {});
}

/** Events of one speech: deltas, with `samples` in [-1, 1], and one `speech.audio.done`. */
export async function* speech(body, signal) {
  const response = await ask("/v1/audio/speech", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, response_format: "pcm", stream_format: "sse", timing: true }),
    signal,
  });
  let complete = false;
  try {
    for await (const event of events(response.body)) {
      if (event.type === "error") throw new ServerError(200, event.error.message, event.error.code);
      if (event.type === "speech.audio.delta") event.samples = samplesOf(event.audio);
      complete ||= event.type === "speech.audio.done";
      yield event;
    }
  } catch (error) {
    if (error instanceof ServerError || error.name === "AbortError") throw error;
    throw new ServerError(200, "The connection broke off before all was said.");
  }
  if (!complete) throw new ServerError(200, "The answer ended before all was said.");
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let next; !(next = await reader.read()).done; ) {
    const parts = (rest + next.value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function samplesOf(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, n) => view.getInt16(2 * n, true) / 32767);
}
