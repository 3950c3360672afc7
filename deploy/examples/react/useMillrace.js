// A conversation as React state, on Millrace's client: it resumes after a reload, and follows answers of other tabs.
import { useCallback, useEffect, useReducer, useRef } from "react";
import { fold, Millrace, START } from "millrace-client";

const EMPTY = { conversation: null, messages: [], running: null, answer: START, status: "ready", error: null };

/**
 * `status` is `ready`, `loading`, `sending` or that of the running answer: `queued`, `searching`, `running`, `retrying`.
 * `messages` are `{id, role, content, status}`, oldest first; the last one may still grow. `ask(text)` resolves to whether
 * the question was accepted. `headers`, such as a bearer token's, may be a function; keep it the same between renders.
 */
export function useMillrace({ base = "/", headers, conversation = null } = {}) {
  const [state, dispatch] = useReducer(reduce, EMPTY);
  const client = useRef(null);
  const current = useRef(state);
  current.current = state;

  useEffect(() => {
    const session = new Session(new Millrace({ base, headers }), dispatch);
    client.current = session;
    session.open(conversation);
    return () => session.close();
  }, [base, headers, conversation]);

  const ask = useCallback((message) => client.current.ask(current.current.conversation, message), []);
  const stop = useCallback(() => client.current.stop(current.current.running), []);
  const retry = useCallback(() => {
    const question = current.current.messages.findLast(({ role }) => role === "user");
    return client.current.retry(current.current.conversation, question.id);
  }, []);
  const isBusy = state.status !== "ready";
  const canRetry = !isBusy && state.messages.some(({ role }) => role === "user");
  return { ...withAnswer(state), ask, stop, retry, isBusy, canRetry, canStop: state.running !== null };
}

/** The calls of one conversation; it tells the reducer what has happened. */
class Session {
  #millrace;
  #dispatch;
  #connection;
  #isClosed = false;

  constructor(millrace, dispatch) {
    this.#millrace = millrace;
    this.#dispatch = (action) => this.#isClosed || dispatch(action);
    this.#connection = millrace.connect({
      onRefused: (error) => this.#dispatch({ type: "failed", error }),
    });
    document.addEventListener("visibilitychange", this.#onVisibility);
  }

  close() {
    this.#isClosed = true;
    this.#connection.close();
    document.removeEventListener("visibilitychange", this.#onVisibility);
  }

  async open(conversation) {
    this.#dispatch({ type: "opened", conversation });
    if (conversation !== null) await this.#try(() => this.#read(conversation));
  }

  ask(conversation, message) {
    this.#dispatch({ type: "asked", message });
    return this.#create(
      () => this.#millrace.ask({ message, ...(conversation !== null && { conversation_id: conversation }) }),
      conversation,
    );
  }

  retry(conversation, question) {
    this.#dispatch({ type: "retried" });
    return this.#create(() => this.#millrace.retry(conversation, question), conversation);
  }

  stop(generation) {
    return this.#try(() => this.#millrace.stop(generation));
  }

  async #create(call, conversation) {
    const created = await this.#try(call);
    if (created !== undefined) this.#follow(created.conversation_id, created.id);
    else if (conversation !== null) await this.#try(() => this.#read(conversation), { keepsError: true });
    return created !== undefined;
  }

  #follow(conversation, generation) {
    if (this.#isClosed) return;
    this.#dispatch({ type: "followed", conversation, generation });
    this.#connection.follow(generation, {
      take: (event) => {
        this.#dispatch({ type: "event", generation, event });
        if (event.type === "done") this.#try(() => this.#read(conversation));
      },
      reject: (error) => this.#dispatch({ type: "failed", error }),
    });
  }

  // Reads the newest messages as they are stored, and follows the answer that runs, if one does.
  async #read(conversation) {
    const page = await this.#millrace.call(`api/conversations/${conversation}/messages?limit=100`);
    this.#dispatch({ type: "read", conversation, messages: page.messages });
    if (page.active_generation !== null) this.#follow(conversation, page.active_generation);
  }

  // Resolves to undefined where the call fails.
  async #try(call, { keepsError = false } = {}) {
    try {
      return await call();
    } catch (error) {
      if (!keepsError) this.#dispatch({ type: "failed", error });
      return undefined;
    }
  }

  #onVisibility = () => (document.visibilityState === "visible" ? this.#connection.resume() : this.#connection.pause());
}

function reduce(state, action) {
  switch (action.type) {
    case "opened":
      return { ...EMPTY, conversation: action.conversation, status: action.conversation === null ? "ready" : "loading" };
    case "read": {
      const { conversation, messages } = action;
      return { ...state, conversation, messages: newestAnswers(messages), running: null, answer: START, status: "ready" };
    }
    case "asked": {
      const question = { id: `new ${state.messages.length}`, role: "user", content: action.message, status: "completed" };
      return { ...state, messages: [...state.messages, question], answer: START, status: "sending", error: null };
    }
    case "retried":
      return { ...state, messages: state.messages.slice(0, 1 + lastQuestion(state.messages)), answer: START, status: "sending", error: null };
    case "followed": {
      const { conversation, generation: running } = action;
      const messages = state.messages.slice(0, 1 + lastQuestion(state.messages)); // the running answer comes after its question
      return { ...state, conversation, messages, running, answer: START, status: "queued" };
    }
    case "event": {
      if (action.generation !== state.running) return state;
      const answer = fold(state.answer, action.event);
      return { ...state, answer, status: answer.outcome === null ? answer.status : "running" };
    }
    case "failed": {
      const isUnsent = state.status === "sending" && state.messages.at(-1)?.id.startsWith("new ");
      const messages = isUnsent ? state.messages.slice(0, -1) : withAnswer(state).messages; // what has arrived stays
      return { ...state, messages, running: null, status: "ready", error: action.error };
    }
    default:
      throw new Error(`unknown action: ${action.type}`);
  }
}

function lastQuestion(messages) {
  return messages.findLastIndex(({ role }) => role === "user");
}

// A question that was retried has several answers, of which the last one counts.
function newestAnswers(messages) {
  return messages.filter((message, index) => {
    const isReplaced = messages.slice(index + 1).some((later) => later.parent_id === message.parent_id && later.role === "assistant");
    return message.role === "user" || !isReplaced;
  });
}

function withAnswer({ messages, running, answer, ...rest }) {
  if (running === null) return { ...rest, messages };
  return { ...rest, messages: [...messages, { id: running, role: "assistant", content: answer.text, status: answer.status }] };
}
