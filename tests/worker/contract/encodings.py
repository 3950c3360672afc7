"""The encodings that two versions of Millrace share in Redis, as this version writes them, and their forms.

`python -m tests.worker.contract.encodings VERSION` freezes those of a release in `corpus/VERSION.json`.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    ContextEvent,
    Done,
    Error,
    Event,
    Image,
    ImageReference,
    Latency,
    Link,
    PaidCall,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
    Usage,
    encode,
)
from millrace.worker.contract.feed import ConversationChanged, FeedEvent, GenerationEnded, GenerationStarted
from millrace.worker.contract.keys import (
    LEARNING_QUEUE,
    LEASES,
    QUEUE,
    UNSTORED,
    WAITING,
    WORKERS,
    active_key,
    address_active_key,
    conversation_key,
    feed_key,
    idempotency_key,
    keys_of,
)
from millrace.worker.contract.queue import TASK, TaskMessage
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.request import (
    ModelRequest,
    PromptMessage,
    ReasoningState,
    RequestSummary,
    encode_request,
    encode_summary,
)
from tests.valkey import ValkeyProcess
from tests.worker.contract.generations import RUNNING, append_event, claim_generation

CORPUS = Path(__file__).parent / "corpus"
GENERATION = "0123456789abcdef" * 2
USAGE = Usage(10, 20, 3, 4, exact=False, reasoning_tokens=5, cost=0.25)
PAID = [PaidCall(1, 2, purpose="title", provider="bedrock", model="m")]
LATENCY = Latency(120, 900, 40)
EVENTS: tuple[AnyEvent, ...] = (
    StatusEvent("queued", generation=GENERATION, conversation_id="c" * 32, message_id="m" * 32),
    StatusEvent("running", attempt=2, model="m", provider="p", requested_model="r"),
    StatusEvent("searching"),
    StatusEvent("retrying", attempt=1, code="provider_throttled"),
    ContextEvent([Link("A page", "https://example.com")], 1, 2, 3, 4, "buy", {"city": "Rome"}),
    *(
        Snapshot("text", "why", [{"title": "t"}], [{"id": "1"}], reason, [ImageReference("i", "png", 9)])
        for reason in ("takeover", "expired", "lost", "gap", "fallback")
    ),
    Chunk("wheel \ud83d\u2028\x00é\U0001f600"),
    Reasoning("because"),
    Citation("t", "s", [{"text": "x"}], {"web": {"url": "u"}}),
    Image("i" * 32, "webp", 12),
    ToolUse("1", "search", {"q": [1, None]}),
    ToolResult("1", [{"text": "found"}], "success"),
    Complete("live", "end_turn", USAGE, LATENCY, "m", "p", "m" * 32, True, "r", {"trace": 1}, PAID, USAGE),
    Complete("whole", "max_tokens", Usage(), Latency(None, 1), "m", "p", "m" * 32, stored=False),
    *(Cancelled(by, USAGE, "m", "p", "r", PAID, LATENCY, USAGE) for by in ("user", "abandoned", "deleted")),
    Error("worker_lost", "The worker was lost.", True, USAGE, "m", "p", "r", PAID, LATENCY, USAGE),
    Error("provider_timeout", "Late.", retryable=False),
    Title("Wheels"),
    Suggestions(["And then?"]),
    *(Done(status) for status in ("completed", "cancelled", "failed")),
    Done("completed", PAID, USAGE),
)
FEED_EVENTS: tuple[Event, ...] = (
    GenerationStarted("g" * 32, "c" * 32),
    GenerationEnded("g" * 32, "c" * 32, "failed"),
    ConversationChanged("c" * 32),
)
REQUESTS = (
    ModelRequest([PromptMessage("user", "é\ud83d")], "m", 100),
    ModelRequest(
        [PromptMessage("user", "a"), PromptMessage("assistant", "b", ReasoningState("p", "m", [{"x": 1}], True))],
        *("m", 5, "system", 0.5, 0.25, ["stop"], "auto", {"k": "v"}, "continue", {"type": "object"}, {"n": 1}, True),
    ),
)


def keys() -> dict[str, Any]:
    """Return the names of the keys that both tiers use."""
    return {
        "generation": list(keys_of(GENERATION)),
        "queues": [QUEUE, LEARNING_QUEUE, *WAITING],
        "leases": [LEASES[0], LEASES[-1], len(LEASES)],
        "unstored": [UNSTORED[0], UNSTORED[-1], len(UNSTORED)],
        "others": [WORKERS, feed_key("ada"), active_key("ada"), address_active_key("::1"), conversation_key("c" * 32)],
        "idempotency": idempotency_key("ada", "key"),
    }


def forms() -> dict[str, Any]:
    """Return the JSON schema of each struct that is encoded."""
    _, components = msgspec.json.schema_components([AnyEvent, FeedEvent, ModelRequest, RequestSummary])
    return {name: _without_words(each) for name, each in components.items()}


def task_message() -> dict[str, Any]:
    """Return the message that a worker receives for a generation, without the name of the machine."""
    message: dict[str, Any] = json.loads(TaskMessage(TASK).encode(QUEUE, [GENERATION]))
    del message["headers"]["origin"]
    return message


def state_of(redis: Redis) -> dict[str, Any]:
    """Return the state and the log of a new generation that a worker runs, as Redis holds them."""
    claimed = claim_generation(redis)
    append_event(redis, claimed.claim, 2, RUNNING)
    append_event(redis, claimed.claim, 3, Chunk("half"))
    keys = keys_of(claimed.claim.generation)
    state = cast("dict[bytes, bytes]", redis.hgetall(keys.state))
    log = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrange(keys.log))
    return {
        "generation": claimed.claim.generation,
        "state": {name.decode(): value.decode() for name, value in state.items()},
        "log": [
            [each.decode(), {name.decode(): value.decode() for name, value in entry.items()}] for each, entry in log
        ],
    }


def current() -> dict[str, Any]:
    """Return everything that is frozen, as this version writes it."""
    return {
        "events": [encode(each).decode() for each in EVENTS],
        "feed_events": [encode(each).decode() for each in FEED_EVENTS],
        "requests": [encode_request(each).decode("utf-8", "surrogatepass") for each in REQUESTS],
        "summaries": [encode_summary(each).decode("utf-8", "surrogatepass") for each in REQUESTS],
        "task": task_message(),
        "keys": keys(),
        "forms": forms(),
    }


def _without_words(value: Any) -> Any:
    """Return a schema without its descriptions and titles, which may change."""
    if isinstance(value, dict):
        return {
            name: _without_words(each)
            for name, each in value.items()
            if name not in ("description", "title") or not isinstance(each, str)
        }
    return [_without_words(each) for each in value] if isinstance(value, list) else value


def main(version: str) -> None:
    """Write the corpus of a release."""
    with TemporaryDirectory() as directory, ValkeyProcess(Path(directory)) as server, connect(server.url) as redis:
        frozen = current() | {"running": state_of(redis)}
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{version}.json").write_text(json.dumps(frozen, indent=1, sort_keys=True) + "\n", "ascii")


if __name__ == "__main__":
    main(sys.argv[1])
