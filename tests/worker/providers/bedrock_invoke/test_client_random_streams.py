"""Event streams that are framed well and hold anything: each ends in one outcome of the provider, with its text."""

import json
from base64 import b64encode
from typing import Any

import pytest
from botocore.eventstream import EventStream
from botocore.parsers import EventStreamJSONParser
from botocore.session import get_session
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.emulator.bedrock.event_stream import encode_error, encode_exception, encode_raw_event
from millrace.worker.contract.transcript import fold
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke
from millrace.worker.providers.router import Router
from millrace.worker.settings.schema import load
from tests.worker.conftest import MakeWorker
from tests.worker.providers.anthropic.random_events import ODD, TEXTS, VALUES, Event, ending_of
from tests.worker.providers.random_streams import RawStream, check_outcome

SHAPE: Any = get_session().get_service_model("bedrock-runtime").shape_for("ResponseStream")


def encode(event: Event) -> tuple[bytes, str]:
    _, body, text = event
    data = b64encode(json.dumps(body).encode()).decode()
    return encode_raw_event("chunk", {"bytes": data, "p": "abc"}), text


PAYLOADS = VALUES | st.builds(dict, bytes=VALUES)
UNUSUAL = st.builds(encode_raw_event, st.sampled_from(["chunk", "somethingNew"]), PAYLOADS)
EXCEPTIONS = st.sampled_from(["throttlingException", "somethingNewException"])
ERRORS = st.sampled_from(["", "InternalFailure"])
FAILED = st.builds(encode_exception, EXCEPTIONS, VALUES) | st.builds(encode_error, ERRORS, st.text(max_size=5))
MESSAGES_OF_STREAM = (TEXTS | ODD).map(encode) | (UNUSUAL | FAILED).map(lambda message: (message, ""))
STREAMS = st.lists(MESSAGES_OF_STREAM, max_size=8).flatmap(lambda found: ending_of(found, encode))


def test_any_well_framed_stream_ends_in_one_outcome_of_the_provider_with_its_text(
    make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make_worker([], tries=1)
    provider = BedrockInvoke(load({}), concurrency=1)
    worker.process.router = Router(worker.harness.settings, {"bedrock": provider}, worker.process.breaker)
    messages: list[bytes] = []
    asked: list[int] = []

    def invoke(**_arguments: Any) -> dict[str, Any]:
        raw: Any = RawStream([*messages])
        asked.append(1)
        return {"body": EventStream(raw, SHAPE, EventStreamJSONParser(), "InvokeModelWithResponseStream")}

    monkeypatch.setattr(provider._client, "invoke_model_with_response_stream", invoke)  # pyright: ignore[reportPrivateUsage]

    @settings(max_examples=80, database=None)
    @given(STREAMS)
    def check(stream: list[tuple[bytes, str]]) -> None:
        messages[:] = [message for message, _ in stream]
        transcript = fold(worker.answer())
        assert asked.pop()
        texts = [text for _, text in stream]
        check_outcome(transcript, texts)

    check()
    provider.close()
