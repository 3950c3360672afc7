"""The upstream service's provider: one POST, whose answer is a whole text in JSON, server-sent events or JSON lines."""

from collections.abc import Generator, Iterator
from contextlib import closing

import gevent

from millrace.worker.contract.events import Chunk
from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.chunking import CHUNK_CHARS, cut_into_chunks
from millrace.worker.providers.members import unreadable
from millrace.worker.providers.protocol import Delta, Prompt, Started, Stopped, WholeAnswer
from millrace.worker.providers.reading import read_sse
from millrace.worker.providers.rlm.fields import StreamMapper, build_body, parse_answer
from millrace.worker.providers.stop_sequences import stop_at
from millrace.worker.providers.transport.client import EVENT_STREAM, JSON, HttpClient, Response
from millrace.worker.providers.transport.decoders import NdjsonDecoder, SseDecoder
from millrace.worker.providers.whole_answer import to_whole_answer
from millrace.worker.settings.schema import Settings

JSON_LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
MAX_CHUNKS = 2000  # of a whole answer: the chunks of a longer one are larger
MAX_PACED_SECONDS = 30.0

_log = get_logger(__name__)


class Rlm:
    """One HTTP client, for up to `concurrency` answers at once.

    The service gets no model's name, no tool and no limits. Stop sequences are applied here, and a schema is asked for
    in words.
    """

    name = "rlm"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        self._settings = settings.rlm
        self._headers = {"Authorization": f"Bearer {settings.rlm.key}"} if settings.rlm.key else {}
        self._http = HttpClient(
            self.name,
            settings.rlm.url,
            concurrency=concurrency,
            read_seconds=settings.providers.read_seconds,
            refine=lambda _: None,
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Ask and yield the answer as it comes, or in chunks if it comes whole; raises ProviderError."""
        with self._open(prompt) as response:
            is_live = _is_stream(response)
            yield Started(self.name, prompt.model, "live" if is_live else self._settings.mode)
            if is_live:
                with closing(stop_at(prompt.stop_sequences, self._read_stream(response))) as deltas:
                    yield from deltas
                return
            text = self._read_whole(response)
        stop = [*stop_at(prompt.stop_sequences, [Chunk(text), Stopped("end_turn")])]
        yield from self._cut("".join(each.content for each in stop if isinstance(each, Chunk)))
        yield stop[-1]

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Ask and return the whole answer; raises ProviderError, always for a prompt with a tool."""
        if prompt.tool:
            raise ProviderError("provider_rejected", retryable=False)
        with self._open(prompt) as response:
            if _is_stream(response):
                deltas = [*self._read_stream(response)]
            else:
                deltas = [Chunk(self._read_whole(response)), Stopped("end_turn")]
        return to_whole_answer(stop_at(prompt.stop_sequences, deltas), None)

    def _open(self, prompt: Prompt) -> Response:
        body = build_body(prompt, self._settings)
        expected = (JSON, EVENT_STREAM, *JSON_LINES)
        return self._http.open_stream("POST", self._settings.url, self._headers, body, expected=expected)

    def _read_whole(self, response: Response) -> str:
        """Return the text of the answer; one beyond `MILLRACE_RLM_MAX_BYTES` is not read on."""
        parts: list[bytes] = []
        size = 0
        for piece in response.body:
            parts.append(piece)
            size += len(piece)
            if size > self._settings.max_bytes:
                _log.warning(
                    "rlm_answer_too_long", setting="MILLRACE_RLM_MAX_BYTES", max_bytes=self._settings.max_bytes
                )
                raise unreadable()
        return parse_answer(b"".join(parts), self._settings.answer_field)

    def _read_stream(self, response: Response) -> Generator[Delta]:
        mapper = StreamMapper(self._settings.delta_fields, self._settings.answer_field)
        decoder = SseDecoder()
        for name, data in _events(response, decoder):
            yield from mapper.map(name, data)
            if mapper.has_ended:
                break
        # Without either header, the response ends with its connection, and so does one that is cut off. Lines of no
        # event at the end are those of a proxy's page.
        is_framed = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
        yield from mapper.end(is_framed=is_framed and not decoder.stray_lines())
        response.body.drain()

    def _cut(self, text: str) -> Generator[Delta]:
        """Yield a whole answer in chunks, at the pace of `MILLRACE_RLM_CHUNK_MS`, while other greenlets run."""
        if self._settings.mode == "whole" or not text:
            yield Chunk(text)
            return
        size = max(CHUNK_CHARS, len(text) // MAX_CHUNKS)
        pause = min(self._settings.chunk_ms / 1000, MAX_PACED_SECONDS * size / len(text))
        for number, piece in enumerate(cut_into_chunks(text, size)):
            if number:
                gevent.sleep(pause)
            yield Chunk(piece)


def _is_stream(response: Response) -> bool:
    return response.content_type in (EVENT_STREAM, *JSON_LINES)


def _events(response: Response, decoder: SseDecoder) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the data of each event; lines of JSON have no name."""
    if response.content_type == EVENT_STREAM:
        yield from read_sse(response, decoder)
        return
    lines = NdjsonDecoder()
    for piece in response.body:
        for line in lines.decode(piece):
            yield "", line
    for line in lines.end():
        yield "", line
