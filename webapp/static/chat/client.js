// The client of a chat: no request waits for ever, and no second owner comes to exist.

import { t } from "../base/strings.js";
import { Millrace, MillraceError } from "../client.js";

/** @import { AskRequest, CallOptions, CreateOptions, Receipt } from "../client.js" */

const LIMIT_MS = 60_000; // a connection that is dead without a sign may take a quarter of an hour to fail

/** @type {Map<string, Promise<unknown>>} - by mount: the first questions of all chats of the document */
const asked = new Map();
/** @type {Set<string>} */
const owned = new Set(); // mounts that know their visitor

export class ChatClient extends Millrace {
  /**
   * @param {string} path
   * @param {CallOptions} [options]
   */
  async call(path, options = {}) {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), LIMIT_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, limit.signal]) : limit.signal;
    try {
      return await super.call(path, { ...options, signal });
    } catch (error) {
      if (!limit.signal.aborted || options.signal?.aborted) throw error;
      throw new MillraceError(0, t.noResponse);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Ask a question. A visitor's first question brings the cookie of a new owner: a second one that is under way at the same
   * time would bring another, and the first one's answer would be a stranger's.
   *
   * @param {string | AskRequest} request
   * @param {CreateOptions} [options]
   * @returns {Promise<Receipt>}
   */
  ask(request, options) {
    const mount = this.url("");
    if (owned.has(mount)) return super.ask(request, options);
    const answer = (asked.get(mount) ?? Promise.resolve()).then(() => super.ask(request, options));
    const end = answer.then(
      () => owned.add(mount),
      () => {},
    );
    asked.set(mount, end);
    return answer;
  }
}
