// node clients.mjs CLIENT URL COOKIE: follow a generation with a client of another author, to its `done`.
// Print the events as [[id, type, content], …]. Each client runs with its own defaults.
import { createRequire } from "node:module";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSource } from "eventsource";

const require = createRequire(import.meta.url);
const { EventSourcePolyfill } = require("event-source-polyfill");
const EventSource2 = require("eventsource2");

const [client, url, cookie] = process.argv.slice(2);
const events = [];

function take(message, id) {
  const event = JSON.parse(message.data);
  events.push([id, event.type, event.content ?? ""]);
  return event.type === "done";
}

function whole(source) {
  return new Promise((resolve) => {
    source.onmessage = (message) => {
      if (take(message, message.lastEventId)) {
        source.close();
        resolve();
      }
    };
  });
}

function fetchWithCookie(address, options) {
  return fetch(address, { ...options, headers: { ...options.headers, cookie } });
}

const clients = {
  polyfill: () => whole(new EventSourcePolyfill(url, { headers: { cookie } })),
  eventsource2: () => whole(new EventSource2(url, { headers: { cookie } })),
  eventsource: () => whole(new EventSource(url, { fetch: fetchWithCookie })),
  fetch: () => {
    globalThis.window = globalThis; // it is written for browsers
    globalThis.document = { addEventListener() {}, removeEventListener() {} };
    const stop = new AbortController();
    const onmessage = (message) => message.data && !message.event && take(message, message.id) && stop.abort();
    return fetchEventSource(url, { headers: { cookie }, signal: stop.signal, openWhenHidden: true, onmessage });
  },
};
setInterval(() => {}, 1000); // `eventsource` waits with a timer that does not keep Node alive
await clients[client]();
console.log(JSON.stringify(events));
process.exit(0);
