// The page: connects the address, the chat, the list of conversations and the one connection.

import { h } from "./base/dom.js";
import { onPreferences, preferences } from "./base/preferences.js";
import { t } from "./base/strings.js";
import { Chat } from "./chat/chat.js";
import { ChatClient } from "./chat/client.js";
import { isComposing } from "./chat/composer.js";
import { idInAddress, showInAddress } from "./shell/address.js";
import { Attendance } from "./shell/attendance.js";
import { Attention } from "./shell/attention.js";
import { BackgroundFeed } from "./shell/background.js";
import { openChannel } from "./shell/channel.js";
import { Conversations } from "./shell/conversations.js";
import { ConversationList } from "./shell/list.js";
import { Removals } from "./shell/removals.js";
import { Search } from "./shell/search.js";
import { applyTheme, showSettings } from "./shell/settings/settings.js";
import { installShortcuts, showShortcuts } from "./shell/shortcuts.js";
import { Sidebar } from "./shell/sidebar.js";
import { StreamSlot } from "./shell/slot.js";
import { Toasts } from "./shell/toasts.js";
import { Unread } from "./shell/unread.js";
import { createWelcome } from "./shell/welcome.js";

/** @type {Record<string, import("./client.js").Streaming>} */
const STREAMING = { auto: "auto", on: true, off: false };

const millrace = new ChatClient();
const seen = new Set(); // generations whose outcome was seen here, until the feed reports their end
const tabs = openChannel(`millrace ${location.pathname}`);

const connection = millrace.connect({
  onFeed(event) {
    takeFeed(event);
    chat.takeFeed(event);
  },
  onMissed() {
    chat.notices.clearFailure("connection");
    refresh();
  },
  onConnection: (isConnected) => chat.notices.showConnection(isConnected),
  onRefused: (error) => chat.notices.showFailure("connection", error),
});

const chat = new Chat(
  { millrace, connection },
  {
    onChange(id) {
      welcome.hidden = id !== null || chat.messages.length > 0;
      nameByQuestion(id);
      list.markCurrent(id);
      markSeen();
      showTitle();
      attendance.change();
    },
    onAsked(id) {
      attendance.begin(id);
      if (idInAddress() === null) showInAddress(id);
      nameByQuestion(id);
      attention.await(id);
      unread.begin(id);
      connection.start();
      if (conversations.items.length === 0) tabs.postMessage("The owner has a conversation.");
    },
    onOutcome: (generation) => document.visibilityState === "visible" && seen.add(generation),
    onAbsent: leave,
  },
);

const conversations = new Conversations({ millrace, onChange: showList, onRead: () => chat.notices.clearFailure("list") });
const search = new Search({ millrace, onChange: () => list.show() });
const unread = new Unread(() => list.show());
const attention = new Attention((id) => (location.hash = id));
const attendance = new Attendance(
  document.querySelector("meta[name=millrace-beacon]") ? millrace.url("api/beacon") : null,
  (id) => id === chat.id && document.visibilityState === "visible",
);
const toasts = new Toasts();
const removals = new Removals({ millrace, conversations, toasts, notices: chat.notices });
const welcome = createWelcome((question) => chat.ask(question));
const list = new ConversationList(
  { conversations, search, unread },
  {
    onRename: rename,
    onDelete: remove,
    exportUrl: (id, format) => millrace.url(`api/conversations/${id}/export?format=${format}`),
  },
);
const slot = new StreamSlot(applyStreaming);
const background = new BackgroundFeed(millrace, { onFeed: takeFeed, onMissed: missAwaited });
const sidebar = new Sidebar({
  search: search.element,
  list: list.element,
  main: chat.element,
  onNew: startNew,
  onSettings: () => showSettings(millrace),
  onHelp: () => showShortcuts(shortcuts),
});

/** @type {import("./shell/shortcuts.js").Shortcut[]} */
const shortcuts = [
  { keys: [["Enter"]], label: t.shortcutSend },
  { keys: [["Shift", "Enter"]], label: t.shortcutLine },
  { keys: [["Escape"]], label: t.shortcutStop },
  { keys: [["/"]], label: t.shortcutQuestion, run: focusQuestion },
  { keys: [["Mod", "Shift", "O"]], label: t.newConversation, run: startNew },
  { keys: [["Mod", "K"]], label: t.searchConversations, run: startSearch },
  { keys: [["Mod", "Shift", "S"]], label: t.shortcutSidebar, run: () => sidebar.toggle() },
  { keys: [["Mod", ","]], label: t.settings, run: () => showSettings(millrace) },
  { keys: [["\u2191"], ["\u2193"]], label: t.shortcutMove },
  { keys: [["F2"]], label: t.shortcutRename },
  { keys: [["Delete"]], label: t.shortcutDelete },
  { keys: [["?"], ["Mod", "/"]], label: t.shortcutHelp, run: () => showShortcuts(shortcuts) },
];

function open() {
  if (location.hash && idInAddress() === null) showInAddress(null);
  sidebar.closeDrawer();
  chat.open(idInAddress());
}

// Leaves a conversation that does not exist any more.
function leave() {
  showInAddress(null);
  open();
}

function startNew() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  open();
}

function startSearch() {
  if (!sidebar.isOpen) sidebar.open();
  search.input.focus();
  search.input.select();
}

function focusQuestion() {
  sidebar.closeDrawer();
  chat.focus();
}

/**
 * @param {string} id
 * @param {string} title
 */
async function rename(id, title) {
  const before = conversations.find(id)?.title ?? null;
  conversations.change(id, { title });
  try {
    await millrace.call(`api/conversations/${id}`, { method: "PATCH", body: { title } });
    chat.notices.clearFailure("rename");
  } catch (error) {
    conversations.change(id, { title: before });
    chat.notices.showFailure("rename", error);
  }
}

/** @param {string} id */
function remove(id) {
  const wasOpen = id === chat.id;
  removals.remove(id, conversations.nameOf(id), () => wasOpen && (location.hash = id));
  if (wasOpen) leave();
}

/**
 * Take an event of the owner's feed, whether the page is visible or not.
 *
 * @param {any} event
 */
function takeFeed(event) {
  const id = event.conversation_id;
  const isVisible = document.visibilityState === "visible";
  if (event.type === "generation_started" && id === chat.id && isVisible) attention.await(id);
  if (event.type === "generation_ended") {
    attendance.end(id, event.status);
    if (!seen.delete(event.generation) && !(id === chat.id && isVisible)) unread.add(id);
    unread.end(id);
    endAwaited(id);
  }
  if (!isVisible) return;
  conversations.refreshOne(id);
  search.refresh();
}

/**
 * The answer in a conversation has ended; the notification names its title, which may be new.
 *
 * @param {string} id
 */
async function endAwaited(id) {
  if (!attention.isAwaiting(id)) return;
  if (document.visibilityState !== "visible" && !conversations.find(id)?.title) await conversations.refresh();
  attention.end(id, conversations.nameOf(id));
}

// The background has missed events: the list says which answers are still running.
async function missAwaited() {
  if (attention.awaited.length === 0) return;
  await conversations.refresh();
  for (const id of attention.awaited) {
    if (conversations.error !== null || conversations.find(id)?.active_generation) continue;
    unread.add(id);
    attention.end(id, conversations.nameOf(id));
  }
}

/** @param {string | null} id */
function nameByQuestion(id) {
  const first = chat.messages.find((/** @type {{role: string}} */ { role }) => role === "user");
  if (id !== null && first) conversations.begin(id, first.content);
}

function markSeen() {
  if (chat.id !== null && document.visibilityState === "visible") unread.delete(chat.id);
}

function showTitle() {
  attention.showTitle(conversations.find(chat.id)?.title ?? chat.title);
}

function showList() {
  if (conversations.isLoaded && conversations.error === null) unread.compare(conversations.items).forEach((id) => id !== chat.id && unread.add(id));
  list.show();
  showTitle();
}

// Opens the connection only if there is a conversation: before the first one there is no owner, and no feed.
async function refresh() {
  chat.refresh();
  await conversations.refresh({ all: true });
  if (conversations.items.length > 0) connection.start();
}

function showOrHide() {
  attendance.change();
  if (document.visibilityState === "visible") {
    background.stop();
    slot.take();
    connection.resume();
    attention.reset();
    markSeen();
  } else {
    connection.pause();
    slot.release();
    if (conversations.items.length > 0 || attention.awaited.length > 0) background.start(); // the first one may not be listed yet
  }
}

function createSkipLink() {
  const link = h("a", { className: "skip-link", href: "#question" }, t.skipToQuestion);
  link.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    event.preventDefault(); // the hash names the conversation
    focusQuestion();
  });
  return link;
}

/** Use the chosen way of streaming, at once where it has changed; poll while too many pages stream. */
function applyStreaming() {
  const chosen = slot.isFree && STREAMING[preferences().streaming];
  if (millrace.streaming === chosen) return;
  millrace.streaming = chosen;
  if (document.visibilityState !== "visible") return;
  connection.pause();
  connection.resume();
}

applyTheme();
onPreferences(applyStreaming);
chat.element.querySelector(".scroller").before(welcome);
sidebar.app.prepend(createSkipLink());
document.body.prepend(sidebar.app, toasts.element);
document.addEventListener("visibilitychange", showOrHide);
addEventListener("pagehide", () => {
  background.stop();
  attendance.leave();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || isComposing(event) || document.querySelector("dialog[open]")) return;
  if (!sidebar.closeDrawer()) chat.stop();
});
installShortcuts(shortcuts);
if (document.visibilityState === "visible") slot.take();
addEventListener("hashchange", open);
tabs.addEventListener("message", refresh);
open();
conversations.refresh().then(() => conversations.items.length > 0 && connection.start());
