// The bodies of the API's responses.
// Generated from the structs by `python -m millrace.webapp.openapi`.

import type { Cancelled, Complete, Error, ImageReference, Latency, Link, Usage } from "./events.js";

/** A created generation, with the URLs to follow and cancel it; `question_id` is empty where nothing is stored. */
export interface Receipt {
  id: string;
  status: "queued";
  conversation_id: string;
  message_id: string;
  question_id: string;
  events_url: string;
  cancel_url: string;
}

/** The current state of a generation; `content` and the like are null if they are no longer stored. */
export interface GenerationView {
  id: string;
  status: "cancelled" | "completed" | "failed" | "queued" | "running";
  done: boolean;
  content: string | null;
  reasoning: string | null;
  citations: unknown[] | null;
  tools: unknown[] | null;
  images: ImageReference[] | null;
  sources: Link[] | null;
  last_event_id: string;
  outcome: Complete | Cancelled | Error | null;
  usage: Usage | null;
  title: string | null;
  suggestions: string[];
  conversation_id: string;
  message_id: string;
  question_id: string;
  attempt: number;
  model: string | null;
  metadata: Record<string, string>;
  on_disconnect: "cancel" | "continue";
  created_at: string;
}

/** The status of a generation after a request to cancel it. */
export interface CancelReceipt {
  status: "cancelled" | "completed" | "failed" | "queued" | "running";
}

/** A page of conversations, last changed first; `next` is the cursor of the following page. */
export interface ConversationPage {
  conversations: ConversationSchema[];
  next: string | null;
}

/** A page of a conversation's messages, oldest first; `next` is the cursor of the page of older messages. */
export interface MessagePage {
  messages: MessageSchema[];
  next: string | null;
  active_generation: string | null;
}

/** A rejection or a failure (RFC 9457); `code` is stable, `field` names the invalid field of a request. */
export interface ProblemBody {
  type: "about:blank";
  title: string;
  status: number;
  detail: string;
  code: string;
  field: string;
  generation_id: string;
}

/** A conversation; `active_generation` is the generation that runs in it, if any; a search adds its `match`. */
export interface ConversationSchema {
  id: string;
  title: string | null;
  created_at: string;
  updated_at: string;
  active_generation: string | null;
  match: MatchSchema;
}

/** A question, or an answer with its outcome; `parent_id` is the question that an answer belongs to. */
export interface MessageSchema {
  id: string;
  role: "assistant" | "user";
  content: string;
  created_at: string;
  parent_id: string | null;
  generation: string | null;
  outcome: Complete | Cancelled | Error | null;
  model: string | null;
  provider: string | null;
  reasoning: string;
  citations: unknown[];
  tools: unknown[];
  images: ImageReference[];
  suggestions: string[];
  sources: Link[];
  latency: Latency | null;
}

/** Where a search has found a conversation: in a message, or in its title if `message_id` is null. */
export interface MatchSchema {
  message_id: string | null;
  role: "assistant" | "user" | null;
  excerpt: ExcerptSchema[];
}

/** A piece of an excerpt, in plain text; `is_hit`: it is one of the words that were searched for. */
export interface ExcerptSchema {
  text: string;
  is_hit: boolean;
}
