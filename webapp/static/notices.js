// Notices of the page beside the answers: actions that failed, and a lost connection.

const OUTAGES = [0, 502, 503, 504]; // the server could not be reached, or could not work
const LOST_AFTER_MS = 1500; // a reconnect that takes less is not worth a message

const notice = document.querySelector("#notice");
const connection = document.querySelector("#connection");
const failures = new Map(); // by action, the newest last
let timer = 0; // runs, or has run, since the connection was lost

// Shows why an action failed, until it succeeds; a failure of the server is over as soon as any action succeeds.
export function showFailure(action, error) {
  failures.delete(action);
  failures.set(action, { text: error.message, isOutage: OUTAGES.includes(error.status) });
  render();
}

export function clearFailure(action) {
  failures.delete(action);
  for (const [other, { isOutage }] of failures) if (isOutage) failures.delete(other);
  render();
}

// Removes the failures of all actions, because the user goes on to something else.
export function clearFailures() {
  failures.clear();
  render();
}

function render() {
  const text = [...failures.values()].at(-1)?.text ?? "";
  if (notice.textContent !== text) notice.textContent = text; // a live region: the same text is not announced twice
}

export function showConnection(isConnected) {
  if (isConnected) {
    clearTimeout(timer);
    timer = 0;
    connection.textContent = "";
  } else timer ||= setTimeout(() => (connection.textContent = "Connection lost. Reconnecting…"), LOST_AFTER_MS);
}
