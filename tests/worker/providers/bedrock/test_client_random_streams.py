"""Event streams that are framed well and hold anything: each ends in one outcome of the provider, with its text."""

from typing import Any, cast

import pytest
from botocore.eventstream import EventStream
from botocore.parsers import EventStreamJSONParser
from botocore.session import get_session
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.emulator.bedrock.event_stream import encode_error, encode_exception, encode_raw_event
from millrace.worker.contract.transcript import fold
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.router import Router
from millrace.worker.settings.schema import load
from tests.worker.conftest import MakeWorker
from tests.worker.providers.random_streams import RawStream, check_outcome

SHAPE: Any = get_session().get_service_model("bedrock-runtime").shape_for("ConverseStreamOutput")
EVENTS = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")
FAILURES = ("throttlingException", "validationException", "modelStreamErrorException", "somethingNewException")
MEMBERS = (
    *(
        "contentBlockIndex",
        "start",
        "delta",
        "stopReason",
        "usage",
        "role",
        "p",
        "new",
        "message",
        "originalStatusCode",
    ),
    *("toolUse", "toolResult", "image", "citation", "reasoningContent", "text", "signature", "redactedContent"),
    *("toolUseId", "name", "input", "status", "title", "source", "sourceContent", "location", "json", "inputTokens"),
)

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["end_turn", "tool_use", "{}", '{"a": 1', "[]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)
TOOL = st.fixed_dictionaries({"toolUseId": st.just("a"), "name": st.just("look")}, optional={"status": VALUES})
STARTS = st.fixed_dictionaries(
    {}, optional={"toolUse": TOOL | VALUES, "toolResult": TOOL | VALUES, "image": VALUES, "new": VALUES}
)
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "text": SCALARS.filter(lambda value: not isinstance(value, str)),
        "toolUse": st.fixed_dictionaries({"input": st.sampled_from(['{"a":', " 1}", "{}"])}) | VALUES,
        "toolResult": st.lists(st.fixed_dictionaries({"text": st.text(max_size=3)}) | VALUES, max_size=3) | VALUES,
        **dict.fromkeys(("reasoningContent", "citation", "image", "new"), VALUES),
    },
)
INDEX = st.just(0) | VALUES
PAYLOADS = VALUES | st.fixed_dictionaries(
    {},
    optional={"contentBlockIndex": INDEX, "start": STARTS, "delta": DELTAS, "stopReason": VALUES, "usage": VALUES},
)


def has_text(payload: Any) -> bool:
    """Return whether the payload of a delta holds a text for the reader."""
    delta = cast("dict[str, Any]", payload).get("delta") if isinstance(payload, dict) else None
    return isinstance(delta, dict) and isinstance(cast("dict[str, Any]", delta).get("text"), str)


TEXTS = st.text(max_size=5).map(lambda text: (delta_of(text), text))
ODD = st.tuples(st.sampled_from([*EVENTS, "somethingNew"]), PAYLOADS.filter(lambda payload: not has_text(payload))).map(
    lambda event: (encode_raw_event(*event), "")
)
FAILED = st.builds(encode_exception, st.sampled_from(FAILURES), PAYLOADS) | st.builds(
    encode_error, st.sampled_from(["", "InternalFailure", "ThrottlingException"]), st.text(max_size=5)
)
ENDING = (encode_raw_event("messageStop", {"stopReason": "end_turn"}), "")
STREAMS = st.lists(TEXTS | ODD | FAILED.map(lambda message: (message, "")), max_size=8).flatmap(
    lambda events: st.sampled_from([events, [*events, ENDING]])
)


def delta_of(text: str) -> bytes:
    return encode_raw_event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})


def test_any_well_framed_stream_ends_in_one_outcome_of_the_provider_with_its_text(
    make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker([], tries=1)
    bedrock = Bedrock(load({}), concurrency=1)
    worker.process.router = Router(worker.harness.settings, {"bedrock": bedrock}, worker.process.breaker)
    messages: list[bytes] = []

    def converse_stream(**_arguments: Any) -> dict[str, Any]:
        raw: Any = RawStream([*messages])
        return {"stream": EventStream(raw, SHAPE, EventStreamJSONParser(), "ConverseStream")}

    monkeypatch.setattr(bedrock._client, "converse_stream", converse_stream)  # pyright: ignore[reportPrivateUsage]

    @settings(max_examples=120, database=None)
    @given(STREAMS)
    @example([(delta_of("a"), "a"), (encode_exception("throttlingException", []), "")])
    @example([(delta_of("a"), "a"), (encode_raw_event("contentBlockDelta", {"delta": {}}), ""), ENDING])
    @example([(encode_raw_event("contentBlockStart", {"start": {"toolUse": None}}), ""), (delta_of("a"), "a"), ENDING])
    def check(stream: list[tuple[bytes, str]]) -> None:
        messages[:] = [message for message, _ in stream]
        transcript = fold(worker.answer())
        texts = [text for _, text in stream]
        check_outcome(transcript, texts)

    check()
    bedrock.close()
