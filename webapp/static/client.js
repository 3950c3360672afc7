// Asks questions, and follows and stops their answers: a client of Millrace without dependencies and without DOM.
// client.d.ts describes all of it, webapp/docs/browser-client.md shows how to use it.

import { Connection } from "./client/connection.js";
import { follow, newMemory } from "./client/follow.js";
import { MillraceError, pause, requestJson } from "./client/request.js";

export { fold, START } from "./client/answer.js";
export { Connection, follow, MillraceError };

/**
 * @import { AskRequest, CallOptions, ConnectionHandlers, CreateOptions, FollowOptions, MillraceOptions, RetryFields } from "./client.js"
 * @import { CancelReceipt, Receipt } from "./api.js"
 */

const MAX_TRIES = 3;

export class Millrace {
  #base;
  #request;
  #limits;
  #memory = newMemory();

  /** @param {MillraceOptions} [options] */
  constructor({ base = "", headers = {}, streaming = "auto", silenceMs, pauseMs, ...request } = {}) {
    this.#base = base;
    this.#request = request;
    this.#limits = { silenceMs, pauseMs };
    this.headers = typeof headers === "function" ? headers : () => headers;
    this.streaming = streaming;
  }

  /** @param {string} path */
  url(path) {
    return this.#base + path;
  }

  /**
   * @param {string} path
   * @param {CallOptions} [options]
   * @returns {Promise<any>}
   */
  async call(path, { method = "GET", body, headers = {}, signal, keepalive } = {}) {
    const hasBody = body !== undefined;
    return requestJson(this.url(path), {
      ...this.#request,
      method,
      signal,
      keepalive,
      headers: { ...(hasBody && { "Content-Type": "application/json" }), ...(await this.headers()), ...headers },
      ...(hasBody && { body: JSON.stringify(body) }),
    });
  }

  /**
   * @param {string | AskRequest} request
   * @param {CreateOptions} [options]
   * @returns {Promise<Receipt>}
   */
  ask(request, options) {
    return this.#create("api/generations", typeof request === "string" ? { message: request } : request, options);
  }

  /**
   * @param {string} conversation
   * @param {string} message
   * @param {RetryFields} [fields]
   * @param {CreateOptions} [options]
   * @returns {Promise<Receipt>}
   */
  retry(conversation, message, fields = {}, options) {
    return this.#create(`api/conversations/${conversation}/messages/${message}/retry`, fields, options);
  }

  /**
   * @param {string} conversation
   * @param {string} message
   * @param {string | AskRequest} request
   * @param {CreateOptions} [options]
   * @returns {Promise<Receipt>}
   */
  edit(conversation, message, request, options) {
    const fields = typeof request === "string" ? { message: request } : request;
    return this.#create(`api/conversations/${conversation}/messages/${message}/edit`, fields, options);
  }

  /**
   * @param {string} generation
   * @returns {Promise<CancelReceipt>}
   */
  stop(generation) {
    return this.call(`api/generations/${generation}/cancel`, { method: "POST" });
  }

  /**
   * @param {string} generation
   * @param {FollowOptions} options
   */
  follow(generation, options) {
    const url = this.url(`api/generations/${generation}/events`);
    return follow(url, { ...this.#streamOptions(), ...options }, undefined, this.#memory);
  }

  /** @param {ConnectionHandlers} [handlers] */
  connect(handlers = {}) {
    return new Connection(this.#base, () => this.#streamOptions(), handlers, this.#memory);
  }

  #streamOptions() {
    return { ...this.#request, ...this.#limits, headers: this.headers, streaming: this.streaming };
  }

  /**
   * Repeats the request with the same key if it is unknown whether it arrived, so that there is only one generation.
   * @param {string} path
   * @param {object} body
   * @param {CreateOptions} [options]
   */
  async #create(path, body, { key = newKey(), signal } = {}) {
    for (let tries = 1; ; tries++) {
      try {
        return await this.call(path, { method: "POST", body, headers: { "Idempotency-Key": key }, signal });
      } catch (error) {
        if (tries === MAX_TRIES || !(error instanceof MillraceError) || ![0, 503].includes(error.status)) throw error;
        await pause(1000 * Math.max(tries, error.retryAfter), signal);
      }
    }
  }
}

function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
