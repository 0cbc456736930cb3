// Every call of the server, and its errors as it words them.

const KEY = "discern-key";

/** An answer that is no success: RFC 9457 problem details, or the same made from what is known. */
export class Problem extends Error {
  constructor(details) {
    super(details.detail);
    this.details = details;
  }
}

/** Keep an API key for this tab, without what came along when it was copied: keys are ASCII. */
export function useKey(key) {
  sessionStorage.setItem(KEY, key.replaceAll(/[^!-~]/g, ""));
}

/** Whether calls show a key. */
export const hasKey = () => Boolean(sessionStorage.getItem(KEY));

async function call(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No answer", detail: "The server cannot be reached.", status: 0 });
  }
  if (response.ok) return response;
  const text = await response.text();
  let details = { title: "The request failed", detail: text || response.statusText };
  try {
    details = JSON.parse(text);
  } catch {
    // A proxy in between answers in words of its own, which stand as they are.
  }
  throw new Problem({ ...details, status: response.status });
}

const json = async (path) => (await call(path)).json();
export const models = () => json("models");
export const limits = () => json("limits");
export const examples = () => json("web/examples/index.json");

/** Fetch a shipped example as a file. */
export async function example(name) {
  const blob = await (await call(`web/examples/${name}`)).blob();
  return new File([blob], name, { type: blob.type });
}

/** The query string of settings that differ from what the model says. */
export function queryOf(settings) {
  return new URLSearchParams(
    Object.entries(settings).filter(([, value]) => value !== undefined && value !== ""),
  ).toString();
}

/**
 * Segment an image, or cluster again what the server still holds of it.
 * @param {{file: File, embedding: ?string}} image
 * @param {object} settings  Query parameters.
 * @param {AbortSignal} signal
 * @returns {Promise<{response: Response, embedding: ?string}>}
 */
export async function segment(image, settings, signal) {
  if (image.embedding) {
    try {
      return await send({ ...settings, embedding: image.embedding }, null);
    } catch (error) {
      if (error.details?.code !== "embedding-not-found") throw error;
    }
  }
  return send({ ...settings, keep: true }, image.file);

  async function send(query, body) {
    const headers = body ? { "Content-Type": body.type || "application/octet-stream" } : {};
    const response = await call(`segment?${queryOf(query)}`, {
      method: "POST", body, headers, signal,
    });
    return { response, embedding: response.headers.get("Embedding-Id") };
  }
}
