"""The Anthropic provider: the Messages API over HTTP."""

import json
from collections.abc import Generator
from contextlib import closing
from functools import partial
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from millrace.worker.providers.anthropic.arguments import build_body
from millrace.worker.providers.anthropic.errors import map_rejection, may_refuse_feature
from millrace.worker.providers.anthropic.forms import Form, FormMemory, answer_tool_of
from millrace.worker.providers.anthropic.mapping import MessageMapper
from millrace.worker.providers.members import Members, merge
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer
from millrace.worker.providers.reading import parse_message, read_deltas, read_sse
from millrace.worker.providers.reasoning import ask_again_without, asks_for_reasoning, keep_reasoning, may_reason
from millrace.worker.providers.transport.client import EVENT_STREAM, JSON, MAX_ANSWER_BYTES, HttpClient, Response
from millrace.worker.providers.whole_answer import to_whole_answer
from millrace.worker.settings.schema import Settings

VERSION = "2023-06-01"  # https://docs.claude.com/en/api/versioning


class Anthropic:
    """One HTTP client, for up to `concurrency` streams at once."""

    name = "anthropic"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        own = settings.anthropic
        self._url = _messages_url(own.base_url)
        self._headers = {"x-api-key": own.api_key, "anthropic-version": VERSION}
        self._http = HttpClient(
            self.name,
            own.base_url,
            concurrency=concurrency,
            read_seconds=settings.providers.read_seconds,
            refine=map_rejection,
        )
        self._request: Members = json.loads(own.request or "{}")
        self._asks_for_reasoning = asks_for_reasoning(self._request)
        self._forms = FormMemory(is_caching=settings.models.prompt_caching)

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Ask for a stream and yield its deltas; raises ProviderError."""

        def open_stream(prompt: Prompt, form: Form) -> Response:
            body = {**self._body(prompt, form), "stream": True}
            # A gateway that ignores `stream` answers with one message.
            return self._http.open_stream("POST", self._url, self._headers, body, expected=(EVENT_STREAM, JSON))

        def ask(prompt: Prompt) -> tuple[Response, Form]:
            return self._forms.ask(prompt, partial(open_stream, prompt), may_refuse_feature)

        response, form = ask_again_without(prompt, ask, may_refuse_feature)
        mapper = MessageMapper(answer_tool_of(prompt, form), asks_for_reasoning=self._asks_for_reasoning is True)
        with response:
            yield Started(self.name, prompt.model)
            if response.content_type == JSON:
                yield from mapper.map_message(parse_message(response.body.read(MAX_ANSWER_BYTES)))
            else:
                with closing(read_sse(response)) as events:
                    yield from read_deltas(events, mapper, (HTTPError, OSError))

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Ask for a whole message and return it; raises ProviderError."""

        def ask(form: Form) -> bytes:
            return self._http.ask(self._url, self._headers, self._body(prompt, form))

        data, form = self._forms.ask(prompt, ask, may_refuse_feature)
        deltas = MessageMapper(answer_tool_of(prompt, form)).map_message(parse_message(data))
        return to_whole_answer(deltas, prompt.tool, is_instructed=form.structure != "tool")

    def _body(self, prompt: Prompt, form: Form) -> Members:
        prompt = keep_reasoning(prompt, lambda state: may_reason(self._asks_for_reasoning, state))
        body = {"model": prompt.model, **build_body(prompt, form)}
        return body if prompt.tool else merge(body, self._request)


def _messages_url(base_url: str) -> str:
    parts = urlsplit(base_url)
    return parts._replace(path=f"{parts.path.rstrip('/').removesuffix('/v1')}/v1/messages").geturl()
