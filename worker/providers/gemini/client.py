"""The Gemini provider: `streamGenerateContent` and `generateContent` over HTTP."""

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from typing import TypeVar
from urllib.parse import quote, urlsplit

import gevent
from urllib3.exceptions import HTTPError

from millrace.worker.errors import ProviderError
from millrace.worker.providers.gemini.arguments import Body, Feature, build_body, features_of
from millrace.worker.providers.gemini.errors import FieldRefused, map_rejection, map_stream_error
from millrace.worker.providers.gemini.mapping import ResponseMapper, parse_responses
from millrace.worker.providers.members import merge, object_of
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer
from millrace.worker.providers.reading import Event, read_sse
from millrace.worker.providers.reasoning import ask_again_without
from millrace.worker.providers.refused_features import RefusedFeatures
from millrace.worker.providers.transport.client import EVENT_STREAM, JSON, MAX_ANSWER_BYTES, HttpClient, Response
from millrace.worker.providers.transport.decoders import SseDecoder
from millrace.worker.providers.transport.errors import error_fields
from millrace.worker.providers.whole_answer import to_whole_answer
from millrace.worker.settings.schema import Settings
from millrace.worker.text.lines import parse_json

REST_SECONDS = 5.0  # for all parts behind a finish reason: the answer is whole without them

T = TypeVar("T")


class Gemini:
    """One HTTP client, for up to `concurrency` streams at once.

    A request that is refused because of one of its features is made once more without it. If that is accepted, and the
    model takes the feature in no request, this process leaves it out for the model for some hours.
    """

    name = "gemini"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        own = settings.gemini
        self._base_url = urlsplit(own.base_url)
        self._headers = {"x-goog-api-key": own.api_key}
        self._http = HttpClient(
            self.name,
            own.base_url,
            concurrency=concurrency,
            read_seconds=settings.providers.read_seconds,
            refine=map_rejection,
        )
        self._request: Body = json.loads(own.request or "{}")
        self._refused: RefusedFeatures[Feature] = RefusedFeatures()

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Ask for a stream and yield its deltas; raises ProviderError."""
        url = self._url(prompt.model, "streamGenerateContent", "alt=sse")

        def open_stream(body: Body) -> Response:
            return self._http.open_stream("POST", url, self._headers, body, expected=(EVENT_STREAM, JSON))

        def ask(prompt: Prompt) -> Response:
            return self._ask(prompt, open_stream, is_stream=True)

        with ask_again_without(prompt, ask, lambda error: error.code == "provider_rejected") as response:
            is_whole = response.content_type == JSON
            yield Started(self.name, prompt.model, "whole" if is_whole else "live")
            if is_whole:
                yield from _map_whole(response.body.read(MAX_ANSWER_BYTES))
            else:
                yield from _read_stream(response, ResponseMapper())

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Ask for a whole answer and return it; raises ProviderError."""
        url = self._url(prompt.model, "generateContent", "")
        deltas = _map_whole(self._ask(prompt, lambda body: self._http.ask(url, self._headers, body), is_stream=False))
        return to_whole_answer(deltas, prompt.tool)

    def _url(self, model: str, verb: str, query: str) -> str:
        name = quote(model, safe="/:@") if "/" in model else f"models/{quote(model, safe=':@')}"
        path = f"{self._base_url.path.rstrip('/')}/{name}:{verb}"
        return self._base_url._replace(path=path, query=query).geturl()

    def _ask(self, prompt: Prompt, call: Callable[[Body], T], *, is_stream: bool) -> T:
        """Return the result of the first call that is not refused because of one of its features."""
        features = features_of(prompt, is_stream=is_stream)
        features -= {each for each in features if self._refused.has(prompt.model, each)}
        refused: set[Feature] = set()
        while True:
            try:
                body = build_body(prompt, features, is_stream=is_stream)
                result = call(body if prompt.tool else merge(body, self._request))
            except FieldRefused as refusal:
                named = features.intersection(refusal.features)
                if not named:
                    raise
                features -= named
                refused |= named if refusal.is_general else set()
                continue
            self._refused.add(prompt.model, refused)
            return result


def _read_stream(response: Response, mapper: ResponseMapper) -> Generator[Delta]:
    """Yield the deltas of a stream. Nothing but the end of the response marks its end."""
    decoder = SseDecoder()
    rest_until = 0.0
    with closing(read_sse(response, decoder)) as events:
        while True:
            deltas: list[Delta] | None = None
            if not mapper.has_finished:
                rest_until = time.monotonic() + REST_SECONDS
                deltas = _map_next(events, mapper)
            else:  # a failure behind a finish reason costs at most the usage
                with (
                    suppress(ProviderError, HTTPError, OSError),
                    gevent.Timeout(max(0.0, rest_until - time.monotonic()), False),
                ):
                    deltas = _map_next(events, mapper)
            if deltas is None:
                break
            yield from deltas
    if not mapper.has_finished:
        _raise_bare_error(decoder.stray_lines())
    yield from mapper.end()


def _map_next(events: Iterator[Event], mapper: ResponseMapper) -> list[Delta] | None:
    """Return the deltas of the next event, None at the end."""
    event = next(events, None)
    return None if event is None else mapper.map(event[1])


def _raise_bare_error(lines: bytes) -> None:
    """Raise the error that Google writes into a stream as bare JSON, without the field `data`."""
    error = parse_json(lines.decode("utf-8", "replace")) if lines else None
    fields = error_fields(error)
    if fields:
        raise map_stream_error(fields)


def _map_whole(data: bytes) -> list[Delta]:
    mapper = ResponseMapper()
    deltas: list[Delta] = []
    for response in parse_responses(data):
        deltas += mapper.map_response(object_of(response))
    return deltas + mapper.end()
