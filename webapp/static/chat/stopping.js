// Stops an answer. While the server cannot be reached, the request is repeated until it arrives or the answer ends.

import { OUTAGES } from "../base/notices.js";
import { pause } from "../client/request.js";

/**
 * @import { MillraceError } from "../client.js"
 * @import { Turn } from "./turns.js"
 */

const RETRY_MS = 3000; // a browser that is online again waits no longer

/**
 * Have the answer of a turn stopped, unless it ends by itself; resolves to null, or to the error if the server refuses.
 *
 * @param {Turn} turn
 * @param {(generation: string) => Promise<unknown>} send
 * @param {() => void} onChange - `isStopping` or `isStopPending` has changed
 * @returns {Promise<MillraceError | null>}
 */
export async function stopAnswer(turn, send, onChange) {
  const generation = /** @type {string} */ (turn.generation);
  turn.isStopping = true;
  onChange();
  while (turn.isStopping && turn.generation === generation) {
    const error = await send(generation).then(() => null, (/** @type {MillraceError} */ refusal) => refusal);
    if (!turn.isStopping || turn.generation !== generation) break;
    turn.isStopPending = error !== null && OUTAGES.includes(error.status);
    turn.isStopping = error === null || turn.isStopPending;
    onChange();
    if (!turn.isStopPending) return error;
    await pause(RETRY_MS);
  }
  return null;
}
