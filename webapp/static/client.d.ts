// A client of Millrace for browsers, Node and Deno: no dependencies, no DOM.

import type { CancelReceipt, Receipt } from "./api.js";
import type {
  Cancelled,
  Citation,
  Complete,
  ContextEvent,
  Error as ErrorEvent,
  FeedEvent,
  GenerationEvent,
  Image,
  ImageReference,
  StatusEvent,
  ToolResult,
  ToolUse,
} from "./events.js";

export type * from "./api.js";
export type {
  Cancelled,
  Chunk,
  Citation,
  Complete,
  ContextEvent,
  ConversationChanged,
  Done,
  Error as ErrorEvent,
  FeedEvent,
  GenerationEnded,
  GenerationEvent,
  GenerationStarted,
  Image,
  ImageReference,
  Latency,
  Link,
  PaidCall,
  Reasoning,
  Snapshot,
  StatusEvent,
  Suggestions,
  Title,
  ToolResult,
  ToolUse,
  Usage,
} from "./events.js";

/** `"auto"` streams, and polls where streams do not pass: behind a proxy that buffers responses. */
export type Streaming = boolean | "auto";

/** Headers of every request, such as `Authorization`; a function is called before each request. */
export type Headers = Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);

/** Options of fetch that are passed on, such as `credentials`. */
export type FetchOptions = Omit<RequestInit, "body" | "headers" | "method" | "signal" | "keepalive" | "cache">;

/** How streams are read. */
export interface StreamOptions extends FetchOptions {
  headers?: Headers;
  streaming?: Streaming;
  /** How long nothing may arrive before the connection counts as dead; by default two and a half heartbeats. */
  silenceMs?: number;
  /** The first pause before a reconnect; by default the one that the server asks for. It doubles up to 15 s. */
  pauseMs?: number;
}

export interface MillraceOptions extends StreamOptions {
  /** The address of the mount, with its final slash; "" is the page's own. */
  base?: string;
}

export interface CallOptions {
  method?: string;
  /** Is sent as JSON. */
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Let the request outlive the page. */
  keepalive?: boolean;
}

/** The fields of a question; see the HTTP API. */
export interface AskRequest extends RetryFields {
  message?: string;
  messages?: { role: "user" | "assistant"; content: string }[];
  conversation_id?: string;
  metadata?: Record<string, string>;
}

/** The fields that choose how a question is answered; see the HTTP API. */
export interface RetryFields {
  model?: string | null;
  system?: string;
  max_tokens?: number;
  temperature?: number;
  top_p?: number;
  stop_sequences?: string[];
  search?: boolean | "auto";
  on_disconnect?: "continue" | "cancel";
  response_format?: { type: "json_schema"; schema: object };
  on_midstream_failure?: "error" | "continue";
}

export interface CreateOptions {
  /** The idempotency key; by default a new one. The same key never creates a second generation. */
  key?: string;
  signal?: AbortSignal;
}

export interface FollowOptions extends StreamOptions {
  /** Takes each event, in order and once. */
  onEvent: (event: GenerationEvent, id: string) => void;
  /** Is called when the connection is lost, and when it is there again. */
  onConnection?: (isConnected: boolean) => void;
  /** The id of an event: those after it are sent. */
  after?: string;
  /** Aborting it stops following. */
  signal?: AbortSignal;
}

export interface ConnectionHandlers {
  /** Takes each event of the owner's feed. */
  onFeed?: (event: FeedEvent) => void;
  /** Some events of the feed may have been missed: read again. Is also called when the connection is first made. */
  onMissed?: () => void;
  onConnection?: (isConnected: boolean) => void;
  /** The server refuses for good. */
  onRefused?: (error: MillraceError) => void;
}

export interface FollowHandlers {
  /** Takes each event, the last time `done`. */
  take: (event: GenerationEvent, id: string) => void;
  /** There is no such generation. */
  reject?: (error: MillraceError) => void;
  /** The id of an event: those after it are taken. */
  after?: string;
}

/** A failed call. `message` can be shown to the user. */
export class MillraceError extends Error {
  constructor(
    status: number,
    message: string,
    problem?: { code?: string; field?: string; retryAfter?: number; generation_id?: string },
  );
  /** The HTTP status; 0 if the server could not be reached. */
  status: number;
  /** The problem's stable code, or "". */
  code: string;
  /** The invalid field of the request, or "". */
  field: string;
  /** In seconds; 0 if the server does not say. */
  retryAfter: number;
  /** The generation that the problem names, such as the one that runs in a busy conversation, or "". */
  generation: string;
}

export class Millrace {
  constructor(options?: MillraceOptions);
  headers: () => Record<string, string> | Promise<Record<string, string>>;
  /** May be changed: streams that begin later use it. */
  streaming: Streaming;

  /** Returns the address of a path of the API, such as that of an image. */
  url(path: string): string;

  /** Returns the JSON of a response, or null for 204; throws a MillraceError for a status that is no success. */
  call(path: string, options?: CallOptions): Promise<any>;

  /**
   * Creates a generation from a question or a whole request. Repeats the request, with the same key, while it is unknown
   * whether it has arrived.
   */
  ask(request: string | AskRequest, options?: CreateOptions): Promise<Receipt>;

  /** Answers a question once more; `message` is the question's id. */
  retry(conversation: string, message: string, fields?: RetryFields, options?: CreateOptions): Promise<Receipt>;

  /** Replaces a question, and all that follows it, by another one, which is answered. */
  edit(conversation: string, message: string, request: string | AskRequest, options?: CreateOptions): Promise<Receipt>;

  /** Cancels a generation; what it has written so far stays. */
  stop(generation: string): Promise<CancelReceipt>;

  /** Follows one generation; see the function `follow`. */
  follow(generation: string, options: FollowOptions): Promise<void>;

  /** Makes one connection for any number of generations and the owner's feed; it opens with the first need for it. */
  connect(handlers?: ConnectionHandlers): Connection;
}

/** One connection that carries the owner's feed and the events of any number of generations. */
export class Connection {
  private constructor();

  /** Opens the connection for the feed, now or when it is no longer paused. */
  start(): void;

  /** Follows one more generation, from its start or after an event. */
  follow(generation: string, handlers: FollowHandlers): void;

  /** Stops following a generation. */
  unfollow(generation: string): void;

  /** Closes the connection for a time, such as while a page is hidden. */
  pause(): void;

  /** Goes on after the last events. */
  resume(): void;

  /** Closes the connection, and follows nothing any more. */
  close(): void;
}

/**
 * Calls `onEvent(event, id)` with each event after the cursor `after`, in order and once. Resolves after `done`, or when the
 * generation has ended and nothing follows the cursor.
 *
 * `url` is the stream's address. It may be a function, called before each connection, that returns an address with the
 * cursors in it, as several streams on one connection need them.
 *
 * Uses EventSource where there is one and no headers are needed, else fetch. Reconnects when the network fails, when the
 * server answers 429, 5xx or something that is no event stream, and when nothing has arrived for too long. Honours
 * `Retry-After` and `retry:`.
 *
 * Rejects with a MillraceError for any other status (404: no such generation), with whatever `onEvent` throws, and with the
 * reason of `signal` when it is aborted.
 */
export function follow(url: string | (() => string), options: FollowOptions): Promise<void>;

/** An answer as its events make it. */
export interface Answer {
  readonly status: StatusEvent["status"] | "completed" | "cancelled" | "failed";
  /** The last event that said where the generation stands. */
  readonly progress?: StatusEvent;
  readonly text: string;
  readonly reasoning: string;
  readonly citations: readonly (Citation | unknown)[];
  readonly tools: readonly (ToolUse | ToolResult | unknown)[];
  readonly images: readonly (Image | ImageReference)[];
  readonly context: ContextEvent | null;
  readonly outcome: Complete | Cancelled | ErrorEvent | null;
  readonly title: string | null;
  readonly suggestions: readonly string[];
  readonly isDone: boolean;
}

/** An answer before its first event. */
export const START: Answer;

/** Returns the answer after one more event. */
export function fold(answer: Answer, event: GenerationEvent): Answer;
