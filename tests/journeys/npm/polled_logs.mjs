// node polled_logs.mjs TIMES: poll random logs at random moments, with pieces of stream between the polls, and print how the
// folded answer differs from the log's own.

import { fold, START } from "millrace-client";

import { GenerationPoller } from "./node_modules/millrace-client/client/polling.js";

const SCALARS = ["text", "reasoning", "title", "isDone"];
let seed = 7;
const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
const word = () => ["wheel ", "\ud83d", "\ude00", "\u2028", "", "é\n"][random(6)];

function randomLog() {
  const log = [{ type: "status", status: "queued" }];
  for (let left = random(12); left > 0; left--) {
    const content = word();
    const tools = random(2) ? [{ id: "t", name: "n", input: {} }] : [];
    const choice = random(8);
    if (choice < 4) log.push({ type: "chunk", content });
    else if (choice < 6) log.push({ type: "reasoning", content });
    else if (choice < 7) log.push({ type: "citation", title: content });
    else log.push({ type: "snapshot", content, reasoning: word(), citations: [], tools, images: [], reason: "takeover" });
  }
  log.push({ type: "complete", stop_reason: "end_turn" });
  if (random(2)) log.push({ type: "title", title: "Wheels" });
  if (random(2)) log.push({ type: "suggestions", suggestions: ["Why?"] });
  return [...log, { type: "done", status: "completed" }];
}

function stateOf(log) {
  const { text: content, isDone: done, outcome, ...rest } = log.reduce(fold, START);
  const status = outcome === null ? (log.length > 1 ? "running" : "queued") : "completed";
  return { ...rest, id: "g", status, content, outcome, done, last_event_id: `1-${log.length}` };
}

const faults = [];
for (let time = 0; time < Number(process.argv[2]); time++) {
  const log = randomLog();
  const poller = new GenerationPoller();
  let [answer, cursor, at, isEnded, outcomes] = [START, "", 0, false, 0];
  const take = (event, id) => {
    if (isEnded) faults.push(`${event.type} after the end`);
    outcomes += event.type === "complete";
    isEnded = event.type === "done";
    answer = fold(answer, event);
    cursor = id;
  };
  while (!isEnded) {
    at = Math.min(log.length, at + random(4));
    if (random(4) === 0 && cursor !== "") {
      for (let seq = Number(cursor.slice(2)); seq < at; seq++) take(log[seq], `1-${seq + 1}`);
      continue;
    }
    poller.take(stateOf(log.slice(0, Math.max(at, 1))), { cursor, hasOutcome: outcomes > 0 }, { onEvent: take, onEnd: () => (isEnded = true) });
  }
  const [found, expected] = [answer, log.reduce(fold, START)];
  for (const name of SCALARS) if (found[name] !== expected[name]) faults.push([name, found[name], expected[name]]);
  for (const name of ["outcome", "suggestions", "tools"]) {
    if (JSON.stringify(found[name]) !== JSON.stringify(expected[name])) faults.push([name, found[name], expected[name]]);
  }
  if (found.citations.length !== expected.citations.length) faults.push("citations");
  if (outcomes !== 1) faults.push(`${outcomes} outcomes`);
}
console.log(JSON.stringify(faults.slice(0, 5)));
