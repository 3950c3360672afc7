"""The provider `bedrock-invoke`: InvokeModelWithResponseStream and InvokeModel through boto3, for Anthropic's models.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

import json
from base64 import b64decode
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import Any

from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.anthropic.arguments import build_body
from millrace.worker.providers.anthropic.forms import Form, FormMemory, answer_tool_of
from millrace.worker.providers.anthropic.mapping import MessageMapper
from millrace.worker.providers.bedrock.connection import WARM_UP_MESSAGES, make_client, mapped_errors, warm_up
from millrace.worker.providers.bedrock.errors import UnreadableResponse, may_refuse_feature
from millrace.worker.providers.bedrock.event_stream import decode_chunk
from millrace.worker.providers.bedrock.wire import read_events
from millrace.worker.providers.bedrock_invoke.request import InvokeRequest, to_invoke_request
from millrace.worker.providers.members import merge, object_of
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer
from millrace.worker.providers.reading import Event, parse_message, read_deltas
from millrace.worker.providers.reasoning import ask_again_without, asks_for_reasoning, keep_reasoning, may_reason
from millrace.worker.providers.transport.client import JSON, MAX_ANSWER_BYTES
from millrace.worker.providers.whole_answer import to_whole_answer
from millrace.worker.settings.schema import Settings

VERSION = "bedrock-2023-05-31"
_CONNECTION_ERRORS = (ClientError, BotoCoreError, ParserError, UnreadableResponse, HTTPError, OSError)

_log = get_logger(__name__)


class BedrockInvoke:
    """One boto3 client, for up to `concurrency` streams at once."""

    name = "bedrock-invoke"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        self._client = make_client(settings, concurrency)
        self._request = to_invoke_request(self._client, settings.bedrock.request)
        self._asks_for_reasoning = asks_for_reasoning(self._request.body)
        self._has_metadata = settings.bedrock.metadata
        self._forms = FormMemory(is_caching=settings.models.prompt_caching)
        prompt = Prompt(settings.default_model, WARM_UP_MESSAGES, 1)
        warm_up(self._client, "invoke_model_with_response_stream", self._arguments(prompt, Form()))

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Call InvokeModelWithResponseStream and yield its deltas; raises ProviderError."""

        def invoke(prompt: Prompt, form: Form) -> Any:
            with mapped_errors():
                return self._client.invoke_model_with_response_stream(**self._arguments(prompt, form))

        def ask(prompt: Prompt) -> tuple[Any, Form]:
            return self._forms.ask(prompt, partial(invoke, prompt), _may_refuse_feature)

        response, form = ask_again_without(prompt, ask, _may_refuse_feature)
        asks = self._asks_for_reasoning is True
        mapper = MessageMapper(answer_tool_of(prompt, form), asks_for_reasoning=asks)
        mapper.take_details(
            {"service_tier": response.get("serviceTier"), "performance": response.get("performanceConfigLatency")}
        )
        with mapped_errors(), closing(response["body"]) as stream, closing(_read_chunks(stream)) as chunks:
            yield Started(self.name, prompt.model)
            yield from read_deltas(chunks, mapper, _CONNECTION_ERRORS)

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Call InvokeModel and return its whole answer; raises ProviderError."""

        def invoke(form: Form) -> bytes:
            with mapped_errors(), closing(self._client.invoke_model(**self._arguments(prompt, form))["body"]) as body:
                return body.read(MAX_ANSWER_BYTES)

        data, form = self._forms.ask(prompt, invoke, _may_refuse_feature)
        deltas = MessageMapper(answer_tool_of(prompt, form)).map_message(parse_message(data))
        return to_whole_answer(deltas, prompt.tool, is_instructed=form.structure != "tool")

    def _arguments(self, prompt: Prompt, form: Form) -> dict[str, Any]:
        request = InvokeRequest() if prompt.tool else self._request
        prompt = keep_reasoning(prompt, lambda state: may_reason(self._asks_for_reasoning, state))
        body = merge({"anthropic_version": VERSION, **build_body(prompt, form)}, request.body)
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        own = request.arguments_with(prompt.metadata if self._has_metadata else {})
        return {"modelId": prompt.model, "body": data, "contentType": JSON, "accept": JSON, **own}


def _may_refuse_feature(error: ProviderError) -> bool:
    return isinstance(error.__cause__, ClientError) and may_refuse_feature(error.__cause__)


def _read_chunks(stream: Any) -> Generator[Event]:
    """Yield the JSON in each chunk; its type is in it."""
    for event in read_events(stream, decode_chunk):
        for kind, payload in event.items():
            if kind == "chunk":
                yield "", _bytes_of(object_of(payload).get("bytes"))
            else:
                _log.warning("unknown_stream_event_ignored", kind=kind)


def _bytes_of(value: Any) -> bytes:
    """Return a chunk's bytes, none if they are absent; in a message that is not decoded yet they are in base64."""
    if value is None or isinstance(value, bytes):
        return value or b""
    try:
        return b64decode(value, validate=True)
    except (ValueError, TypeError) as error:
        raise UnreadableResponse from error
