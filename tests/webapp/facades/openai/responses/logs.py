"""Logs as strategies, and what the official SDK makes of a rendered one."""

import json
from typing import Any

import msgspec
from hypothesis import strategies as st
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from werkzeug.test import TestResponse

from millrace.webapp.facades.openai.responses.dialect import ResponsesDialect
from millrace.webapp.facades.openai.responses.objects import EchoedParameters
from millrace.webapp.facades.openai.responses.views import ResponseDescription
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    ContextEvent,
    Done,
    Error,
    Image,
    Latency,
    Outcome,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
    Usage,
    status_after,
)
from millrace.worker.contract.ids import Cursor
from millrace.worker.store.answers import StoredAnswer, save_answer
from millrace.worker.store.messages import StoredQuestion
from tests.webapp.harness import COMPLETE, WebHarness

Json = dict[str, Any]

GENERATION = "5" * 32
USAGE = Usage(10, 7, 5, 2, reasoning_tokens=3)
QUEUED = StatusEvent("queued", generation=GENERATION, conversation_id="c", message_id="m")
RUNNING = StatusEvent("running", 1, "asked-model", "bedrock")
PAGE = Citation("A page", None, None, {"web": {"url": "https://example.org/a", "domain": "example.org"}})
BOOK = Citation("A book", "Shelf 3", [{"text": "quoted"}], {"documentChar": {"start": 1}})
TOOL = ToolUse("call-1", "look_up", {"name": "Ada"})


def complete(stop_reason: str = "end_turn") -> Complete:
    return Complete("live", stop_reason, USAGE, Latency(1, 2), "asked-model", "bedrock", "m", stored=True)


def takeover(content: str = "", reasoning: str = "", citations: Any = (), tools: Any = ()) -> Snapshot:
    return Snapshot(content, reasoning, list(citations), list(tools), "takeover")


_TEXTS = st.text("ab", min_size=1, max_size=3)
_CALLS = st.sampled_from([TOOL, ToolUse("call-2", "look_up", {}), ToolUse("call-3", "tell", [1])])
_AS_ENTRY = {"id": "call-1", "name": "look_up", "input": {"name": "Ada"}}
_CITED = {key: value for key, value in msgspec.to_builtins(PAGE).items() if key != "type"}
_PARTS = st.one_of(
    _TEXTS.map(Chunk),
    _TEXTS.map(Reasoning),
    st.sampled_from([PAGE, BOOK, Citation("In the text", "https://example.org/b")]),
    _CALLS,
    st.builds(
        takeover, st.text("ab", max_size=4), st.text("ab", max_size=3), st.sampled_from([(), (_CITED,)]),
        st.sampled_from([(), (_AS_ENTRY,)]),
    ),
    st.sampled_from([RUNNING, StatusEvent("searching"), StatusEvent("retrying"), ToolResult("call-1", [])]),
    st.just(Image("6" * 32, "png", 10)),
)  # fmt: skip
_OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        complete(),
        complete("max_tokens"),
        Cancelled("user", USAGE, "asked-model"),
        Error("content_filtered", "It was filtered.", retryable=False),
        Error("provider_throttled", "Too many requests.", retryable=True, usage=USAGE),
        Error("worker_lost", "It was lost.", retryable=True),
    ]
)
_ENDS = st.lists(st.sampled_from([Title("A title"), Suggestions(["more?"])]), max_size=2)
_BEGINNINGS = st.sampled_from([(), (RUNNING,), (RUNNING, ContextEvent([], 1, 0, 0, 0))])


@st.composite
def logs(draw: st.DrawFn) -> list[AnyEvent]:
    """Return a log of the protocol's grammar."""
    parts, outcome = draw(st.lists(_PARTS, max_size=12)), draw(_OUTCOMES)
    return [QUEUED, *draw(_BEGINNINGS), *parts, outcome, *draw(_ENDS), Done(status_after(outcome))]


def dialect(**echoed: Any) -> ResponsesDialect:
    return ResponsesDialect(ResponseDescription(GENERATION, 1_700_000_000, "m", {}, EchoedParameters(**echoed)))


def render(rendering: ResponsesDialect, *events: AnyEvent, number: int = 0) -> list[Json]:
    """Return the events of the stream, as JSON; asserts that each frame has its type's name."""
    found: list[Json] = []
    for event in events:
        for line in rendering.render(event, number + len(found)):
            assert not isinstance(line, str)
            data = msgspec.to_builtins(line.data)  # pyright: ignore[reportAttributeAccessIssue]
            assert line.event == data["type"]  # pyright: ignore[reportAttributeAccessIssue]
            found.append(data)
    return found


def types_of(frames: list[Json]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in frames]


_SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def validate(frames: list[Json]) -> None:
    """Validate each event against the SDK's types; raises ValidationError."""
    for frame in frames:
        _SDK_EVENT.validate_python(frame, strict=True)


def accumulate(frames: list[Json]) -> list[Any]:
    """Return the events that the SDK's helper fires; raises what it raises."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    fired: list[Any] = []
    for frame in frames:
        event: Any = construct_type_unchecked(type_=ResponseStreamEvent, value=frame)  # pyright: ignore
        fired += state.handle_event(event)
    return fired


def frames_of(answer: TestResponse) -> list[Json]:
    """Return the events of a response's stream; asserts that each frame has its type's name and no id."""
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream"), answer.text
    opening, *frames, rest = answer.get_data(as_text=True).split("\n\n")
    assert opening.startswith(":")
    assert not rest
    found: list[Json] = []
    for frame in frames:
        name, data = frame.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def check_error(answer: TestResponse, status: int, code: str, param: str | None = None) -> Json:
    """Assert that a response is this error in OpenAI's shape, and return it."""
    assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
    error: Json = json.loads(answer.text)["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert error["message"]
    return error


def own(response: Json) -> str:
    """Return the generation of a response."""
    return str(response["id"]).removeprefix("resp_")


def stored(site: WebHarness, response: Json, text: str) -> None:
    """Answer a response as a worker does, and store the answer."""
    holding = site.hold(own(response))
    site.write(holding, RUNNING, Chunk(text), COMPLETE, Done("completed"))
    asked = StoredQuestion(holding.question, holding.owner, holding.conversation, holding.request.messages[-1].content)
    done = Cursor(holding.claim.epoch, 5)
    said = StoredAnswer(holding.message, own(response), done.epoch, done, text, COMPLETE, "asked-model", "bedrock")
    assert site.services.database.run(lambda session: save_answer(session, asked, said))
