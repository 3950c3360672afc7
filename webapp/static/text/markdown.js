// Shows an answer's text.

export class MarkdownView {
  #container;
  #text = document.createTextNode("");

  // `container` is an empty element.
  constructor(container) {
    this.#container = container;
    container.append(this.#text);
  }

  // Shows the text; usually it is the last one with more at its end. It appears with the next frame at the latest.
  set(text) {
    if (text.startsWith(this.#text.data)) this.#text.appendData(text.slice(this.#text.data.length));
    else this.#text.data = text;
  }

  // Shows all that was held back because the text might have gone on.
  finish() {
    this.#container.normalize();
  }
}
