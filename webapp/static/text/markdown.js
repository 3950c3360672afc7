// Shows an answer's text, which is markdown, while it grows.

import { t } from "../base/strings.js";
import { library, loadedLexing } from "./library.js";
import { patchChildren } from "./patch.js";
import { Planner } from "./plan.js";
import { Reading } from "./reading.js";

const HIDDEN_MS = 150; // a hidden page has no animation frames
const LARGE = 20_000; // characters; of a larger text the layout, too, is counted as a part of an update
const DEAR_MS = 10; // an update that takes longer is followed by a pause in proportion
const PAUSE_FACTOR = 2;
const MAX_PAUSE_MS = 500;

export class MarkdownView {
  #container;
  #planner;
  /** @type {Reading | null} */
  #reading = null; // null: the text is shown plainly, until the packages that read markdown have been loaded
  #source = "";
  #text = ""; // the source with `\n` as the end of lines
  #read = ""; // how much of it has been read
  #isFinished = false;
  #isShown = true;
  #frame = 0;
  #timer = 0;
  #notBefore = 0;

  /**
   * @param {Element} container - an empty element
   * @param {{allowImages?: readonly string[]}} [options] - `allowImages`: origins such as `https://images.example.org`
   *   from which images are loaded; others are linked to
   */
  constructor(container, { allowImages = [] } = {}) {
    this.#container = container;
    this.#planner = new Planner({ allowImages, taskDone: t.taskDone, taskOpen: t.taskOpen, table: t.table });
    if (loadedLexing() === null) library.then((lexing) => lexing && this.#showAgain());
  }

  /** The text as it was given. */
  get source() {
    return this.#source;
  }

  /**
   * Show a text; usually it is the last one with more at its end. It appears with the next frame, but for
   * half-written syntax at its end.
   *
   * @param {string} text
   */
  set(text) {
    if (text === this.#source) return;
    this.#source = text;
    this.#text = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
    this.#isFinished = false;
    this.#schedule();
  }

  /** Show all that was held back because the text might have gone on. */
  finish() {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#isShown = false;
    this.#render();
  }

  #schedule() {
    this.#isShown = false;
    if (this.#frame || this.#timer) return;
    const pause = this.#notBefore - performance.now();
    if (pause <= 0) this.#frame = requestAnimationFrame(() => this.#render());
    this.#timer = setTimeout(() => this.#render(), Math.max(HIDDEN_MS, pause));
  }

  #render() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = this.#timer = 0;
    if (this.#isShown) return;
    this.#isShown = true;
    const start = performance.now();
    if (this.#read === "" || !this.#text.startsWith(this.#read)) this.#begin();
    this.#read = this.#text;
    if (this.#reading === null) this.#showPlainly();
    else {
      const change = this.#reading.read(this.#text, this.#isFinished);
      if (change !== null) patchChildren(this.#container, change.start, change.plans, change.skip);
    }
    if (this.#isFinished) this.#read = ""; // another text is read from its start
    if (this.#text.length > LARGE && !document.hidden) this.#container.getBoundingClientRect();
    const took = performance.now() - start;
    this.#notBefore = took > DEAR_MS ? start + took + Math.min(MAX_PAUSE_MS, took * PAUSE_FACTOR) : 0;
  }

  #begin() {
    const lexing = loadedLexing();
    this.#reading = lexing && new Reading(lexing, this.#planner);
  }

  #showPlainly() {
    patchChildren(this.#container, 0, this.#text ? [plainly(this.#text)] : [], 0);
  }

  #showAgain() {
    this.#read = "";
    this.#isShown = false;
    this.#render();
  }
}

/** @param {string} text @returns {import("./plan.js").ElementPlan} */
function plainly(text) {
  return { kind: "element", tag: "p", attributes: { class: "plain", dir: "auto" }, children: [text] };
}
