"""The code of the AI SDK's page runs as pasted, against the whole system."""

from tests.client import Client, emulate, wait_for
from tests.docs.pages import ROOT, blocks
from tests.journeys.conftest import Calls
from tests.journeys.npm_packages import NpmPackages

_BROWSER = """
const [base, cookie, slow] = process.argv.slice(2);
const send = globalThis.fetch;
globalThis.fetch = (url, { headers, ...more } = {}) => send(base + url, { ...more, headers: { ...headers, cookie } });
"""
_AFTER = """
const text = () => chat.messages.at(-1).parts.filter(({ type }) => type === "text").map((part) => part.text).join("");
const first = text();
const { conversationId } = chat.messages.at(-1).metadata;
const ended = chat.sendMessage({ text: slow });
const running = (resolve) => {
  if (chat.messages.length === 4 && text()) return resolve();
  setTimeout(running, 20, resolve);
};
await new Promise(running);
const watcher = new Chat({ id: chat.id, transport, messages: chat.messages.slice(0, 3) });
const resumed = watcher.resumeStream();
const watching = (resolve) => {
  const answer = watcher.messages[3];
  if (answer?.parts.some(({ type }) => type === "text")) return resolve();
  setTimeout(watching, 20, resolve);
};
await new Promise(watching);
await stopAnswer(chat.id);
await Promise.all([ended, resumed]);
const last = watcher.messages.at(-1);
console.log(JSON.stringify({
  first, conversationId, stopped: text(), watched: last.parts.find(({ type }) => type === "text").text,
  statuses: [chat.status, watcher.status], outcome: last.metadata.outcome,
}));
"""


def test_code_of_the_page_asks_resumes_in_a_second_place_and_stops(
    client: Client, calls: Calls, npm_packages: NpmPackages
) -> None:
    client.begin()
    page = ROOT / "webapp/docs/use-from-ai-sdk.md"
    code = "\n".join(block.code for block in blocks("js") if block.page == page)
    assert code.count("```") == 0
    slow = emulate(text="on and on " * 500, chars=5, rate=50)
    cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
    script = npm_packages.add(_BROWSER + code + _AFTER)
    found = npm_packages.run(script, str(client.http.base_url).rstrip("/"), cookie, slow)
    assert found["statuses"] == ["ready", "ready"]
    assert found["outcome"] == "cancelled"
    assert found["stopped"] == found["watched"]
    assert 0 < len(found["stopped"]) < 5000
    wait_for(lambda: [each["ended"] for each in calls.of(slow)] == ["closed_by_client"], 30, "the call's end")
    stored = client.http.get(f"/api/conversations/{found['conversationId']}/messages").json()["messages"]
    assert [each["content"] for each in stored][:2] == ["What is a millrace?", found["first"]]
