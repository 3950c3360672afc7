// `<millrace-chat>`: the chat as an element of other people's pages, in a shadow root of its own.
//
//     <script type="module" src="https://chat.example.com/static/widget.js"></script>
//     <millrace-chat placeholder="Ask about our mills"></millrace-chat>
//
// `webapp/docs/widget.md` describes its attributes, properties, methods and events.

import { h } from "./base/dom.js";
import { icon } from "./base/icons.js";
import { STATIC } from "./base/place.js";
import { t, useLanguage } from "./base/strings.js";
import { Chat } from "./chat/chat.js";
import { ChatClient } from "./chat/client.js";
import { isComposing } from "./chat/composer.js";

const MOUNT = new URL(/\/static\/[0-9a-f]{16}\/$/.test(STATIC.pathname) ? "../.." : "..", STATIC).href;
const STYLES = ["widget", "tokens", "base", "controls", "overlays", "text", "markdown", "code", "chat", "turn", "receipt"]; // in this order
const STREAMING = new Map([
  ["on", true],
  ["off", false],
]);
const KEYS = ["keydown", "keypress", "keyup"];

/** @typedef {Record<string, string>} Headers */

/** @type {Set<string>} - of the chats on this page, whose new conversations are kept apart by them */
const scopes = new Set();

/** @type {Promise<CSSStyleSheet[]> | null} - shared by all widgets of the document */
let styles = null;

export class MillraceChat extends HTMLElement {
  static observedAttributes = ["src", "lang", "streaming", "theme", "conversation", "placeholder"];

  #frame = h("div", { className: "widget" });
  /** @type {{chat: Chat, connection: import("./client.js").Connection, leaving: AbortController} | null} */
  #parts = null;
  /** @type {Headers | (() => Headers | Promise<Headers>) | null} */
  #headers = null;
  /** @type {string | null} - the one to open when the element is in a document again */
  #conversation = null;
  #scope = "";
  #begun = 0; // incremented whenever the chat begins or ends: an earlier beginning that still waits is then void
  #ready = pendingChat();

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.append(this.#frame);
    for (const type of KEYS) root.addEventListener(type, (event) => this.#takeKey(/** @type {KeyboardEvent} */ (event)));
  }

  /** Headers of each request, or a function that returns them; cookies are then not sent. A change starts the chat again. */
  get headers() {
    return this.#headers;
  }

  set headers(headers) {
    this.#headers = headers;
    if (this.#parts !== null) this.#begin();
  }

  /** The address of the mount; by default the one that this module comes from. */
  get src() {
    return this.getAttribute("src") ?? MOUNT;
  }

  set src(src) {
    this.setAttribute("src", src);
  }

  /** The id of the open conversation; null for a new one. */
  get conversation() {
    return this.#parts === null ? this.#conversation : this.#parts.chat.id;
  }

  set conversation(id) {
    if (id === null) this.removeAttribute("conversation");
    else this.setAttribute("conversation", id);
  }

  /** `light` or `dark`; any other value follows the user's system. */
  get theme() {
    return this.getAttribute("theme") ?? "auto";
  }

  set theme(theme) {
    this.setAttribute("theme", theme);
  }

  /** `on`, `off`, which asks for the text again and again, or `auto`. */
  get streaming() {
    return this.getAttribute("streaming") ?? "auto";
  }

  set streaming(streaming) {
    this.setAttribute("streaming", streaming);
  }

  get placeholder() {
    return this.getAttribute("placeholder") ?? t.askPlaceholder;
  }

  set placeholder(placeholder) {
    this.setAttribute("placeholder", placeholder);
  }

  /**
   * Ask a question in the open conversation; resolves to whether it was accepted.
   *
   * @param {string} message
   * @returns {Promise<boolean>}
   */
  async ask(message) {
    return (await this.#chat()).ask(message);
  }

  /** Stop the running answer, if one runs; what it has written stays. */
  async stop() {
    (await this.#chat()).stop();
  }

  /**
   * Open a conversation, or a new one for null.
   *
   * @param {string | null} id
   */
  async open(id) {
    (await this.#chat()).open(id);
  }

  connectedCallback() {
    if (this.#parts === null) this.#begin();
  }

  /** An element that is only moved is in a document again at once, and goes on. */
  disconnectedCallback() {
    queueMicrotask(() => this.isConnected || this.#end());
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} value
   */
  attributeChangedCallback(name, before, value) {
    if (name === "theme") this.#showTheme();
    else if (name === "conversation") this.#go(value || null);
    else if (this.#parts === null || before === value) return;
    else if (name === "placeholder") this.#showPlaceholder();
    else this.#begin();
  }

  /** @param {string | null} conversation */
  #go(conversation) {
    if (this.#parts === null) this.#conversation = conversation;
    else if (this.#parts.chat.id !== conversation) this.#parts.chat.open(conversation);
  }

  async #begin() {
    this.#end();
    const begun = ++this.#begun;
    const root = /** @type {ShadowRoot} */ (this.shadowRoot);
    const language = /** @type {HTMLElement | null} */ (this.closest("[lang]"))?.lang ?? "en";
    const [sheets] = await Promise.all([loadStyles(), useLanguage(language)]);
    if (begun !== this.#begun) return;
    root.adoptedStyleSheets = sheets;
    this.#parts = this.#make();
    this.#frame.append(this.#parts.chat.element);
    this.#showPlaceholder();
    this.#parts.chat.open(this.#conversation);
    if (this.#conversation !== null) this.#parts.connection.start();
    this.#ready.resolve(this.#parts.chat);
  }

  #end() {
    this.#begun++;
    if (this.#parts === null) return;
    const { chat, connection, leaving } = this.#parts;
    this.#conversation = chat.id;
    leaving.abort();
    chat.close();
    connection.close();
    this.#parts = null;
    scopes.delete(this.#scope);
    this.#ready = pendingChat();
    this.#frame.replaceChildren();
  }

  #make() {
    const base = new URL(this.src, document.baseURI).href.replace(/\/*$/, "/");
    const headers = this.#headers;
    const isElsewhere = new URL(base).origin !== location.origin;
    const credentials = headers !== null ? "omit" : isElsewhere ? "include" : "same-origin";
    const streaming = STREAMING.get(this.streaming) ?? "auto";
    const millrace = new ChatClient({ base, headers: headers ?? {}, credentials, streaming });
    const connection = millrace.connect({
      onFeed: (/** @type {any} */ event) => chat.takeFeed(event),
      onMissed: () => chat.refresh(),
      onConnection: (/** @type {boolean} */ isConnected) => chat.notices.showConnection(isConnected),
      onRefused: (/** @type {Error} */ error) => chat.notices.showFailure("connection", error),
    });
    this.#scope = freeScope(this.id);
    const greeting = createGreeting();
    const chat = new Chat(
      { millrace, connection, scope: this.#scope },
      {
        onChange: (conversation) => (greeting.hidden = conversation !== null || chat.messages.length > 0),
        onAsked: (conversation) => {
          connection.start();
          this.#report("asked", { conversation });
        },
        onAnswered: (answered) => this.#report("answered", answered),
        onAbsent: () => chat.open(null),
      },
    );
    chat.element.querySelector(".scroller").before(greeting);
    chat.element.role = "region"; // the page around has a main part of its own
    chat.element.ariaLabel = this.ariaLabel ?? t.appName;
    chat.notices.onFailure = (action, { message, status = 0, code = "" }) => {
      this.#report("error", { action, message, status, code });
    };
    const leaving = new AbortController();
    const onVisibility = () => (document.visibilityState === "visible" ? connection.resume() : connection.pause());
    document.addEventListener("visibilitychange", onVisibility, { signal: leaving.signal });
    return { chat, connection, leaving };
  }

  /** @returns {Promise<Chat>} */
  #chat() {
    return this.#ready.promise;
  }

  #showTheme() {
    if (["light", "dark"].includes(this.theme)) this.#frame.dataset.theme = this.theme;
    else delete this.#frame.dataset.theme;
  }

  #showPlaceholder() {
    this.#frame.querySelector("#question").placeholder = this.placeholder;
  }

  /**
   * Keep keys from the shortcuts of the page around, after the chat has had them.
   *
   * @param {KeyboardEvent} event
   */
  #takeKey(event) {
    event.stopPropagation();
    if (event.type === "keydown" && event.key === "Escape" && !event.defaultPrevented && !isComposing(event)) {
      this.#parts?.chat.stop();
    }
  }

  /**
   * @param {string} what
   * @param {object} detail
   */
  #report(what, detail) {
    this.dispatchEvent(new CustomEvent(`millrace-${what}`, { detail, bubbles: true, composed: true }));
  }
}

/**
 * Return a name that no other chat of the page has, and that is the same after a reload.
 *
 * @param {string} id - of the element, perhaps empty
 */
function freeScope(id) {
  let scope = id && ` ${id}`;
  for (let number = 2; scopes.has(scope); number++) scope = `${id && ` ${id}`} ${number}`;
  scopes.add(scope);
  return scope;
}

/** Return what stands in place of the first question: the words of the page around in the slot `greeting`, or a usual text. */
function createGreeting() {
  const usual = [
    h("span", { className: "greeting-mark" }, icon("chat")),
    h("h2", { className: "greeting-title" }, t.greeting),
    h("p", { className: "greeting-text" }, t.greetingText),
  ];
  return h("section", { className: "greeting", hidden: true }, h("slot", { name: "greeting" }, ...usual));
}

/** Fetch the style sheets once a document; a `<link>` would need a place in the policy of the page around. */
function loadStyles() {
  styles ??= Promise.all(STYLES.map(loadStyle)).catch((error) => {
    styles = null; // the next widget tries again
    console.warn("Millrace: the styles of the widget cannot be loaded.", error);
    return [];
  });
  return styles;
}

/** @param {string} name */
async function loadStyle(name) {
  const response = await fetch(new URL(`styles/${name}.css`, STATIC));
  if (!response.ok) throw new Error(`${name}: status ${response.status}`);
  return new CSSStyleSheet().replace(await response.text());
}

// A chat that is not there yet, and the function that hands it over.
function pendingChat() {
  /** @type {(chat: Chat) => void} */
  let resolve = () => {};
  /** @type {Promise<Chat>} */
  const promise = new Promise((settle) => (resolve = settle));
  return { promise, resolve };
}

if (!customElements.get("millrace-chat")) customElements.define("millrace-chat", MillraceChat);
