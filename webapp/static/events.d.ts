// The events of a generation: the JSON of each `data:` line.
// Generated from the structs by `python -m millrace.webapp.openapi`.

export type GenerationEvent =
  | StatusEvent
  | ContextEvent
  | Snapshot
  | Chunk
  | Reasoning
  | Citation
  | Image
  | ToolUse
  | ToolResult
  | Complete
  | Cancelled
  | Error
  | Title
  | Suggestions
  | Done;

export type FeedEvent =
  | GenerationStarted
  | GenerationEnded
  | ConversationChanged;

/** The generation's progress; the first event of every log is `queued` and carries the ids. */
export interface StatusEvent {
  type: "status";
  status: "queued" | "retrying" | "running" | "searching";
  attempt?: number;
  model?: string;
  provider?: string;
  requested_model?: string;
  code?: string;
  generation?: string;
  conversation_id?: string;
  message_id?: string;
}

/** The context of the answer: web pages, and counts of messages, profiles and memories; `failed` ones are missing. */
export interface ContextEvent {
  type: "context";
  sources: Link[];
  history: number;
  profile: number;
  memory: number;
  failed: number;
  intent?: string;
  updated?: Record<string, unknown>;
}

/** The whole answer so far: replace everything received before. */
export interface Snapshot {
  type: "snapshot";
  content: string;
  reasoning: string;
  citations: unknown[];
  tools: unknown[];
  reason: "expired" | "fallback" | "gap" | "lost" | "takeover";
  images?: ImageReference[];
}

/** Append `content` to the text. */
export interface Chunk {
  type: "chunk";
  content: string;
}

/** Append `content` to the reasoning. */
export interface Reasoning {
  type: "reasoning";
  content: string;
}

/** A citation, with the fields and names of Bedrock's `CitationsDelta`. */
export interface Citation {
  type: "citation";
  title?: string;
  source?: string;
  sourceContent?: unknown[];
  location?: Record<string, unknown>;
}

/** An image of the answer, at this place of its text; `bytes` is its size. */
export interface Image {
  type: "image";
  id: string;
  format: "gif" | "jpeg" | "png" | "webp";
  bytes: number;
}

/** The model's use of a tool; `input` is the parsed JSON of all its input deltas. */
export interface ToolUse {
  type: "tool_use";
  id: string;
  name: string;
  input: unknown;
}

/** The result of a tool that ran on the provider's side. */
export interface ToolResult {
  type: "tool_result";
  id: string;
  content: unknown[];
  status?: string;
}

/** The outcome of a complete answer; `provider` and `model` are those that gave it. */
export interface Complete {
  type: "complete";
  mode: "chunked" | "live" | "whole";
  stop_reason: string;
  usage: Usage;
  latency: Latency;
  model: string;
  provider: string;
  message_id: string;
  stored: boolean;
  requested_model?: string;
  provider_details?: Record<string, unknown>;
  usage_by?: PaidCall[];
  usage_total?: Usage;
}

/** The outcome of a cancelled answer; the text so far is kept. */
export interface Cancelled {
  type: "cancelled";
  by: "abandoned" | "deleted" | "user";
  usage: Usage;
  model?: string;
  provider?: string;
  requested_model?: string;
  usage_by?: PaidCall[];
  latency?: Latency;
  usage_total?: Usage;
}

/** The outcome of a failed answer; the text so far is kept. `latency` is absent where no worker had begun. */
export interface Error {
  type: "error";
  code: string;
  message: string;
  retryable: boolean;
  usage?: Usage;
  model?: string;
  provider?: string;
  requested_model?: string;
  usage_by?: PaidCall[];
  latency?: Latency;
  usage_total?: Usage;
}

/** The conversation's title. */
export interface Title {
  type: "title";
  title: string;
}

/** Questions that the user may want to ask next. */
export interface Suggestions {
  type: "suggestions";
  suggestions: string[];
}

/** The end of the log: every log has exactly one, and it is the last event. */
export interface Done {
  type: "done";
  status: "cancelled" | "completed" | "failed";
  usage_by?: PaidCall[];
  usage_total?: Usage;
}

/** A generation was enqueued; its log can be followed from now on. */
export interface GenerationStarted {
  type: "generation_started";
  generation: string;
  conversation_id: string;
}

/** A generation's log has its `done`. */
export interface GenerationEnded {
  type: "generation_ended";
  generation: string;
  conversation_id: string;
  status: "cancelled" | "completed" | "failed" | "queued" | "running";
}

/** A conversation got its title, was renamed, edited or deleted. */
export interface ConversationChanged {
  type: "conversation_changed";
  conversation_id: string;
}

/** A web page used for an answer. */
export interface Link {
  title: string;
  url: string;
}

/** An image of an answer; `bytes` is its size. */
export interface ImageReference {
  id: string;
  format: "gif" | "jpeg" | "png" | "webp";
  bytes: number;
}

/** Tokens as the provider counted them or, where `exact` is false, as estimated from the text. */
export interface Usage {
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  exact: boolean;
  reasoning_tokens: number;
  cost: number;
}

/** Milliseconds from the claim to the first delta (None where there was none) and to the end. */
export interface Latency {
  first_delta_ms: number | null;
  total_ms: number;
  reasoning_ms: number;
}

/** One paid call of a model for a generation, and what it was for. */
export interface PaidCall {
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  exact: boolean;
  reasoning_tokens: number;
  cost: number;
  purpose: "answer" | "intent" | "learning" | "naming" | "suggestions" | "title";
  provider: string;
  model: string;
}
