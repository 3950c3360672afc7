// The SDK's transport with the two things that it does not do by itself: `cancel` stops the model, where the SDK's
// `stop` only closes the connection, and `isInterrupted` tells that an answer goes on although its stream has failed.
import { DefaultChatTransport } from "ai";

export class MillraceTransport extends DefaultChatTransport {
  #api;
  #sent;
  #generation;
  #isInterrupted = false;

  constructor({ api = "/api/chat", sdk = 7, ...options } = {}) {
    super({
      ...options,
      api: `${api}?sdk=${sdk}`,
      fetch: (...request) => (this.#sent = this.#fetch(...request)),
      prepareReconnectToStreamRequest: ({ id }) => {
        // An answer that was interrupted may have ended in the meantime; by its name it can be followed still.
        const named = this.isInterrupted ? `&generation=${this.#generation}` : "";
        return { api: `${this.#chat(id)}/stream?sdk=${sdk}${named}` };
      },
    });
    this.#api = api;
  }

  // Stop the answer that runs in a chat; its stream then ends by itself.
  async cancel(id) {
    await this.#sent?.catch(() => {}); // an answer exists once its request has a response
    const response = await fetch(`${this.#chat(id)}/stop`, { method: "POST" });
    if (!response.ok) throw new Error(await response.text());
  }

  // Whether to call `resumeStream()` after an error.
  get isInterrupted() {
    return this.#isInterrupted && this.#generation !== undefined;
  }

  // For `onData`: the server ends the stream of an answer that goes on.
  noteData(part) {
    this.#isInterrupted ||= part.type === "data-resume";
  }

  // For `onFinish`: the network has ended it.
  noteFinish({ isDisconnect }) {
    this.#isInterrupted ||= isDisconnect;
  }

  #chat(id) {
    return `${this.#api}/${encodeURIComponent(id)}`;
  }

  async #fetch(url, options) {
    if (options.method === "POST") this.#generation = undefined;
    const response = await fetch(url, options);
    if (response.ok) this.#isInterrupted = false;
    this.#generation = response.headers.get("Millrace-Generation-Id") ?? this.#generation;
    return response;
  }
}
