// The page: connects the address, the chat, the list of conversations and the one connection.

import { h } from "./base/dom.js";
import { t } from "./base/strings.js";
import { Chat } from "./chat/chat.js";
import { isComposing } from "./chat/composer.js";
import { Millrace } from "./client.js";
import { idInAddress, showInAddress } from "./shell/address.js";
import { ConversationList } from "./shell/list.js";

const millrace = new Millrace();
const tabs = new BroadcastChannel(`millrace ${location.pathname}`);

const connection = millrace.connect({
  onFeed(event) {
    list.refresh();
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
    onChange: (id) => list.markCurrent(id),
    onAsked(id) {
      if (idInAddress() === null) showInAddress(id);
      connection.start();
      if (list.isEmpty) tabs.postMessage("The owner has a conversation.");
    },
    onAbsent: leave,
  },
);

const list = new ConversationList({
  millrace,
  notices: chat.notices,
  onNew() {
    if (location.hash) history.pushState(null, "", location.pathname + location.search);
    open();
  },
  onDelete: (id) => id === chat.id && leave(),
});

function open() {
  if (location.hash && idInAddress() === null) showInAddress(null);
  chat.open(idInAddress());
}

// Leaves a conversation that does not exist any more.
function leave() {
  showInAddress(null);
  open();
}

// Opens the connection only if there is a conversation: before the first one there is no owner, and no feed.
async function refresh() {
  chat.refresh();
  await list.refresh();
  if (!list.isEmpty) connection.start();
}

document.body.prepend(h("div", { className: "app" }, h("header", {}, h("h1", {}, t.appName)), list.element, chat.element));
document.addEventListener("visibilitychange", () => (document.visibilityState === "visible" ? connection.resume() : connection.pause()));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !isComposing(event) && !document.querySelector("dialog[open]")) chat.stop();
});
addEventListener("hashchange", open);
tabs.addEventListener("message", refresh);
open();
list.refresh().then(() => list.isEmpty || connection.start());
