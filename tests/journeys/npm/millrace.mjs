// node millrace.mjs URL COOKIE TRANSPORT GENERATIONS TIMES: follow generations (JSON) with `millrace-client`, each by
// `Millrace.follow` and then all on one `Connection`; TRANSPORT is eventsource, fetch, polling or auto.
// Prints the different results, and how many streams and polls were requested.

import { EventSource as Source } from "eventsource";
import { fold, Millrace, START } from "millrace-client";

const [base, cookie, transport, list, times] = process.argv.slice(2);
const requests = { eventsource: 0, fetch: 0, polling: 0 };

// Sends the cookie as a browser does: without headers that the client would see.
const { fetch } = globalThis;
globalThis.fetch = (url, init) => {
  const isStream = new Headers(init.headers).get("accept") === "text/event-stream";
  requests[init.kind ?? (isStream ? "fetch" : "polling")]++;
  return fetch(url, { ...init, headers: { ...init.headers, cookie } });
};
if (transport === "eventsource" || transport === "auto") {
  globalThis.EventSource = class extends Source {
    constructor(url, init) {
      super(url, { ...init, fetch: (address, given) => globalThis.fetch(address, { ...given, kind: "eventsource" }) });
    }
  };
}
const streaming = { polling: false, auto: "auto" }[transport] ?? true;
const millrace = new Millrace({ base, streaming, pauseMs: 1 });

class Reader {
  answer = START;
  last = [0, 0];
  faults = [];

  take(event, id) {
    const [epoch, seq] = id.split("-").map(Number);
    const isLater = epoch > this.last[0] || (epoch === this.last[0] && seq > this.last[1]);
    const isAgain = epoch === this.last[0] && seq === this.last[1]; // polling gives several events the id of the last one
    if (!isLater && !(isAgain && requests.polling)) this.faults.push(`${id} after ${this.last.join("-")}`);
    this.last = [epoch, seq];
    const { text, isDone } = this.answer;
    this.answer = fold(this.answer, event);
    if (isDone) this.faults.push(`${event.type} after done`);
    if (event.type !== "snapshot" && !this.answer.text.startsWith(text)) this.faults.push("the text has changed");
  }

  get result() {
    const { text, reasoning, status, outcome, isDone } = this.answer;
    return JSON.stringify([text, reasoning, status, outcome?.type ?? null, isDone, this.faults]);
  }
}

async function readOne(generation) {
  const reader = new Reader();
  await millrace.follow(generation, { onEvent: (event, id) => reader.take(event, id) });
  return reader.result;
}

function readOn(connection, generation) {
  const reader = new Reader();
  return new Promise((resolve, reject) => {
    const take = (event, id) => {
      reader.take(event, id);
      if (event.type === "done") resolve(reader.result);
    };
    connection.follow(generation, { take, reject });
  });
}

const results = new Set();
const generations = JSON.parse(list);
for (let time = 0; time < Number(times); time++) {
  for (const each of generations) results.add(await readOne(each));
  const connection = millrace.connect();
  for (const each of await Promise.all(generations.map((each) => readOn(connection, each)))) results.add(each);
  connection.close();
}
console.log(JSON.stringify({ results: [...results].map((each) => JSON.parse(each)), requests }));
