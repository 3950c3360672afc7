// The turns of a conversation on the page, oldest first.

import { h } from "../base/dom.js";

/**
 * @typedef {object} Turn
 * @property {import("./turn.js").TurnView} view
 * @property {string} text - the question
 * @property {string | null} question - the question's id; null until it is known
 * @property {string | null} generation
 * @property {boolean} isEnded
 * @property {boolean} isStopping
 * @property {boolean} isStopPending - it is being stopped, and the server cannot be reached
 */

/** @import { StoredTurn } from "./history.js" */

export class Turns {
  element = h("div", { id: "turns", className: "turns" });
  /** @type {Turn[]} */
  #turns = [];
  #onLost;
  #heights = new ResizeObserver((entries) => entries.forEach(keepHeight));

  /** @param {(text: string) => void} onLost - called with an edited question that was not sent when its turn was removed elsewhere */
  constructor(onLost) {
    this.#onLost = onLost;
  }

  /** @returns {Iterator<Turn>} */
  [Symbol.iterator]() {
    return this.#turns[Symbol.iterator]();
  }

  get last() {
    return this.#turns.at(-1);
  }

  /** Questions and answers as `{role, content}`. */
  get messages() {
    return this.#turns.flatMap(({ text, view }) => [
      { role: "user", content: text },
      { role: "assistant", content: view.text },
    ]);
  }

  /**
   * @param {Turn} turn
   * @param {Turn} [previous] - the last one if it is not given
   */
  append(turn, previous = this.last) {
    if (this.last) this.#heights.observe(this.last.view.element);
    this.#heights.observe(turn.view.element);
    this.#turns.splice(previous ? this.#turns.indexOf(previous) + 1 : 0, 0, turn);
    if (previous) previous.view.element.after(turn.view.element);
    else this.element.append(turn.view.element);
    return turn;
  }

  /** @param {Turn[]} turns */
  prepend(turns) {
    this.#turns.unshift(...turns);
    this.element.prepend(...turns.map(({ view }) => view.element));
    for (const { view } of turns) this.#heights.observe(view.element);
  }

  /** @param {Turn} turn */
  remove(turn) {
    this.#turns = this.#turns.filter((each) => each !== turn);
    turn.view.element.remove();
  }

  /** @param {Turn} turn */
  removeFrom(turn) {
    for (const each of this.#turns.slice(this.#turns.indexOf(turn))) this.remove(each);
  }

  clear() {
    this.#turns.forEach((turn) => this.#lose(turn));
    this.#turns = [];
    this.element.replaceChildren();
  }

  /**
   * Return the turn of a stored one. The id of a question that was asked here is not known at first.
   *
   * @param {StoredTurn} stored
   */
  find({ id, question }) {
    return this.#turns.find((turn) => turn.question === id || (turn.question === null && turn.text === question));
  }

  /** @param {string} generation */
  findByGeneration(generation) {
    return this.#turns.find((turn) => turn.generation === generation);
  }

  /**
   * Remove the turns that were stored and no longer are, because a question before them was edited elsewhere.
   *
   * @param {StoredTurn[]} newest - the newest page
   */
  removeMissing(newest) {
    const stored = new Set(newest.map(({ id }) => id));
    const first = this.#turns.findIndex(({ question }) => question !== null && stored.has(question));
    if (first < 0) return;
    for (const turn of this.#turns.slice(first)) {
      if (turn.question !== null && !stored.has(turn.question) && turn.isEnded) {
        this.#lose(turn);
        this.remove(turn);
      }
    }
  }

  /** @param {Turn} turn */
  #lose({ view }) {
    if (view.edited.trim() !== "") this.#onLost(view.edited);
  }
}

/**
 * Keep the height of a turn that is not the last one: with it, the browser can skip the turn while it is away from the screen,
 * and nothing moves. A long conversation would otherwise cost more time with each word than the answer that is written.
 *
 * @param {ResizeObserverEntry} entry
 */
function keepHeight({ target, contentRect }) {
  const height = `auto ${contentRect.height}px`;
  const { style, dataset, nextElementSibling } = /** @type {HTMLElement} */ (target);
  if (contentRect.height === 0 || nextElementSibling === null || style.containIntrinsicBlockSize === height) return;
  style.containIntrinsicBlockSize = height;
  dataset.measured = "";
}
