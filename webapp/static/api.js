// Calls of the API. Paths are relative to the page, which may be mounted below any prefix.

const MAX_TRIES = 3;

// A failed call; `message` can be shown to the user, and `status` is 0 if the server could not be reached.
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function call(path, { method = "GET", body, headers = {} } = {}) {
  let response;
  try {
    response = await fetch(path, {
      method,
      cache: "no-store",
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The server cannot be reached. Check your connection and try again.");
  }
  if (response.status === 204) return null;
  let result = null;
  try {
    result = await response.json();
  } catch {
    // not JSON: the message below names the status
  }
  if (!response.ok) throw new ApiError(response.status, result?.detail ?? `The server responded with status ${response.status}.`);
  return result;
}

// Creates a generation. Retries with the same key if it is unknown whether the request arrived, so that there is only one.
export async function createGeneration(body) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  for (let tries = 1; ; tries++) {
    try {
      return await call("api/generations", { method: "POST", body, headers: { "Idempotency-Key": key } });
    } catch (error) {
      if (tries === MAX_TRIES || ![0, 503].includes(error.status)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * tries));
  }
}
