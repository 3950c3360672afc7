// Keeps the place of a scrolled text while it changes: at its end the newest text stays in view, and anywhere else the
// line at the top edge stays where it is, whatever is added, removed or loaded above it. (Browsers' own scroll anchoring
// differs or is missing, and none has it at the very top, where earlier messages are added.)

const NEAR_END_PX = 40;
const WHOLE = "pre, table, details, p"; // no anchor is looked for within these

export class Scrolling {
  isAtEnd = true;
  #isPressed = false; // by the mouse, which may be selecting text
  #scroller;
  #content;
  #onChange;
  /** @type {{element: Element, offset: number}[]} */
  #anchors = []; // what is at the top edge, from a turn to a paragraph of its answer: a paragraph may be replaced
  #lastTop = 0;
  /** @type {{element: Element | null, height: number}} */
  #last = { element: null, height: 0 }; // the newest turn
  #observer = new ResizeObserver(() => this.keep());

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content - the only child of `scroller` that changes much
   * @param {(change: {isAtEnd: boolean, hasGrown: boolean}) => void} onChange
   */
  constructor(scroller, content, onChange) {
    this.#scroller = scroller;
    this.#content = content;
    this.#onChange = onChange;
    this.#observer.observe(scroller);
    this.#observer.observe(content);
    scroller.addEventListener("scroll", () => this.#read(), { passive: true });
    scroller.addEventListener("pointerdown", (event) => event.pointerType === "mouse" && event.button === 0 && this.#press());
  }

  /** Go to the end, and stay there while text is added. */
  toEnd() {
    this.isAtEnd = true;
    this.keep();
  }

  /** Restore the place after a change, or after the scroller was out of the document. */
  keep() {
    const scroller = this.#scroller;
    if (!scroller.isConnected || scroller.clientHeight === 0) return;
    if (this.isAtEnd && !this.#isPressed) scroller.scrollTop = scroller.scrollHeight;
    else this.#restoreAnchor();
    this.#lastTop = scroller.scrollTop;
    this.#onChange({ isAtEnd: this.isAtEnd, hasGrown: this.#growsAtEnd() });
  }

  // Earlier turns change their height as well: they are laid out only when they come near the screen.
  #growsAtEnd() {
    const element = this.#content.lastElementChild;
    const height = element?.clientHeight ?? 0;
    const hasGrown = element !== this.#last.element || height > this.#last.height;
    this.#last = { element, height };
    return hasGrown;
  }

  // Text does not move while it is being selected, nor afterwards: the user is going to read or copy it.
  #press() {
    this.#isPressed = true;
    this.#findAnchors();
    const leaving = new AbortController();
    const release = () => {
      leaving.abort();
      this.#isPressed = false;
      if (this.#hasSelection) this.isAtEnd = false;
      this.keep();
    };
    for (const type of ["pointerup", "pointercancel"]) addEventListener(type, release, { signal: leaving.signal });
  }

  get #hasSelection() {
    const root = /** @type {Document | (ShadowRoot & {getSelection?: () => Selection | null})} */ (this.#scroller.getRootNode());
    const selection = root.getSelection?.();
    return selection ? !selection.isCollapsed && this.#content.contains(selection.anchorNode) : false;
  }

  #restoreAnchor() {
    const anchor = this.#anchors.findLast(({ element }) => this.#content.contains(element));
    if (anchor) this.#scroller.scrollTop += anchor.element.getBoundingClientRect().top - this.#edge - anchor.offset;
  }

  get #edge() {
    return this.#scroller.getBoundingClientRect().top;
  }

  #read() {
    const { scrollTop, clientHeight, scrollHeight } = this.#scroller;
    if (clientHeight === 0) return;
    const distance = scrollHeight - clientHeight - scrollTop;
    if (scrollTop < this.#lastTop - 1 && distance > 2) this.isAtEnd = false;
    else if (distance <= NEAR_END_PX) this.isAtEnd = true;
    this.#lastTop = scrollTop;
    if (!this.isAtEnd) this.#findAnchors();
    this.#onChange({ isAtEnd: this.isAtEnd, hasGrown: false });
  }

  #findAnchors() {
    const edge = this.#edge;
    this.#anchors = [];
    for (let element = this.#content; ; ) {
      const child = [...element.children].find((each) => each.getBoundingClientRect().bottom > edge);
      if (!child) return;
      const offset = child.getBoundingClientRect().top - edge;
      this.#anchors.push({ element: child, offset });
      if (offset >= 0 || child.matches(WHOLE)) return;
      element = /** @type {HTMLElement} */ (child);
    }
  }
}
