// Every text of the page, in English. Another language is a file beside this one, with the same names.
// Texts with a number or a name in them are functions.

export default {
  appName: "Millrace",
  // The conversation
  question: "Question",
  answer: "Answer",
  yourQuestion: "Your question",
  askPlaceholder: "Ask a question",
  send: "Send",
  stop: "Stop",
  showOlder: "Show earlier messages",
  messages: "Messages",
  newest: "Newest",
  imageOfAnswer: (number) => `Image ${number} of the answer`,
  queued: "Waiting to start",
  running: "Answering",
  searching: "Searching",
  retrying: "Retrying",
  completed: "Complete",
  cancelled: "Stopped",
  completedAtLimit: "Complete (length limit reached)",
  failed: (message) => `Failed: ${message}`,
  notStored: "No answer was stored. Ask again.",
  answerGone: "This answer no longer exists. Ask again.",
  connectionLost: "Connection lost. Reconnecting…",
  conversationGone: "There is no such conversation. It may have been deleted.",
  // The list of conversations
  conversations: "Conversations",
  newConversation: "New conversation",
  untitled: "Untitled",
  showMore: "Show more",
  showMoreConversations: "Show more conversations",
  deleteNamed: (name) => `Delete ${name}`,
  confirmDelete: (name) => `Delete “${name}” and all its messages? This cannot be undone.`,
  delete: "Delete",
  cancel: "Cancel",
};
