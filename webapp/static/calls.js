// The API as the page calls it: from the page's own place on, so that it may lie below any prefix.

const TRIES = 3;

// A refusal, with the words for the user; `status` is 0 where the server can't be reached.
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

export async function call(path, { method = "GET", body, headers = {} } = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      cache: "no-store",
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused(0, "The server can't be reached.");
  }
  if (answer.status === 204) return null;
  let told = null;
  try {
    told = await answer.json();
  } catch {
    // no JSON: its status must do
  }
  if (!answer.ok) throw new Refused(answer.status, told?.detail ?? `The server answers ${answer.status}.`);
  return told;
}

// Asks, and asks again where nobody knows whether it got through: with the same key, so that there is one generation.
export async function ask(body) {
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  for (let tries = 1; ; tries++) {
    try {
      return await call("api/generations", { method: "POST", body, headers: { "Idempotency-Key": key } });
    } catch (refused) {
      if (tries === TRIES || ![0, 503].includes(refused.status)) throw refused;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * tries));
  }
}
