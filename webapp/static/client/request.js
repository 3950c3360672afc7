// Requests for JSON, their failures, and pauses between them. client.d.ts describes the exports.

export class MillraceError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {{code?: string, field?: string, retryAfter?: number, generation_id?: string}} [problem]
   */
  constructor(status, message, { code = "", field = "", retryAfter = 0, generation_id = "" } = {}) {
    super(message);
    this.name = "MillraceError";
    this.status = status;
    this.code = code;
    this.field = field;
    this.retryAfter = retryAfter;
    this.generation = generation_id;
  }
}

/**
 * Returns the JSON of a response, or null for 204; throws a MillraceError for a status that is no success.
 * @param {string} url
 * @param {RequestInit} init
 */
export async function requestJson(url, init) {
  const response = await fetch(url, { ...init, cache: "no-store" }).catch((error) => {
    init.signal?.throwIfAborted();
    throw new MillraceError(0, "The server cannot be reached. Check your connection and try again.", { code: String(error) });
  });
  if (response.status === 204) return null;
  if (!response.ok) throw await errorOf(response);
  return response.json().catch((error) => {
    init.signal?.throwIfAborted();
    throw new MillraceError(0, "The response was cut off. Try again.", { code: String(error) });
  });
}

/** @param {Response} response */
export async function errorOf(response) {
  const problem = await response.json().catch(() => null); // not JSON: the message names the status
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return new MillraceError(response.status, problem?.detail ?? `The server responded with status ${response.status}.`, {
    ...problem,
    retryAfter,
  });
}

/**
 * Waits; a browser that is online again does not wait any longer.
 * @param {number} milliseconds
 * @param {AbortSignal | null} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    /** @param {() => void} finish */
    const end = (finish) => () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      globalThis.removeEventListener?.("online", onOnline);
      finish();
    };
    const onAbort = end(() => reject(signal?.reason));
    const onOnline = end(resolve);
    const timer = setTimeout(onOnline, milliseconds);
    signal?.addEventListener("abort", onAbort);
    globalThis.addEventListener?.("online", onOnline);
  });
}
