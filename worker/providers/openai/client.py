"""The OpenAI provider: Chat Completions or Responses over HTTP.

It also works with the servers that offer OpenAI's API, each by its base URL:
- OpenAI: `https://api.openai.com/v1`
- Azure: `https://RESOURCE.openai.azure.com/openai/v1`
- Amazon Bedrock: `https://bedrock-runtime.REGION.amazonaws.com/openai/v1`, with a Bedrock API key
- OpenRouter: `https://openrouter.ai/api/v1`
- vLLM: `http://HOST:8000/v1`; llama.cpp: `http://HOST:8080/v1`; Ollama: `http://HOST:11434/v1`, all without a key
"""

import json
from collections.abc import Callable, Generator
from contextlib import closing
from typing import TypeVar
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from millrace.worker.providers.members import Members, merge
from millrace.worker.providers.openai.arguments import Body, Feature, build_chat, build_responses, features_of
from millrace.worker.providers.openai.chat import ChatMapper, parse_completion
from millrace.worker.providers.openai.errors import FeatureRefused, map_rejection
from millrace.worker.providers.openai.responses import ResponsesMapper
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer
from millrace.worker.providers.reading import read_deltas, read_sse
from millrace.worker.providers.refused_features import RefusedFeatures
from millrace.worker.providers.stop_sequences import stop_at
from millrace.worker.providers.transport.client import EVENT_STREAM, JSON, HttpClient, Response
from millrace.worker.providers.whole_answer import to_whole_answer
from millrace.worker.settings.schema import Settings

MAX_WHOLE_BYTES = 16 << 20  # of an answer in one piece, in place of a stream

_VENDOR_HOSTS = ("api.openai.com", ".openai.com", ".openai.azure.com", ".services.ai.azure.com")
_OTHER_LIMIT: dict[Feature, Feature] = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

T = TypeVar("T")


class OpenAI:
    """One HTTP client, for up to `concurrency` streams at once.

    A request that is refused because of one of its features is made once more without it. If that is accepted, and the
    refusal was not about this request alone, this process leaves the feature out for the model for some hours. Stop
    sequences that the model does not take are applied here.
    """

    name = "openai"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        own = settings.openai
        parts = urlsplit(own.base_url)
        self._is_chat = own.api == "chat"
        path = f"{parts.path.rstrip('/')}/{'chat/completions' if self._is_chat else 'responses'}"
        self._url = parts._replace(path=path).geturl()
        self._is_vendor = f".{parts.hostname}".endswith(_VENDOR_HOSTS)
        self._headers = {"Authorization": f"Bearer {own.api_key}"} if own.api_key else {}
        self._http = HttpClient(
            self.name,
            own.base_url,
            concurrency=concurrency,
            read_seconds=settings.providers.read_seconds,
            refine=map_rejection,
        )
        self._request: Members = json.loads(own.request or "{}")
        self._refused: RefusedFeatures[Feature] = RefusedFeatures()

    def close(self) -> None:
        """Close the pooled connections."""
        self._http.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Ask for a stream and yield its deltas; raises ProviderError."""

        def open_stream(body: Body) -> Response:
            # A server that ignores `stream` answers in one piece of JSON.
            return self._http.open_stream("POST", self._url, self._headers, body, expected=(EVENT_STREAM, JSON))

        response, features = self._ask(prompt, open_stream, is_stream=True)
        with response:
            is_whole = response.content_type == JSON
            yield Started(self.name, prompt.model, "whole" if is_whole else "live")
            deltas = self._read_whole(response) if is_whole else self._read_stream(response)
            sequences = () if "stop" in features else prompt.stop_sequences
            with closing(stop_at(sequences, deltas) if sequences else deltas) as remaining:
                yield from remaining

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Ask for a whole answer and return it; raises ProviderError."""

        def ask(body: Body) -> bytes:
            return self._http.ask(self._url, self._headers, body)

        data, features = self._ask(prompt, ask, is_stream=False)
        deltas = list(self._map_whole(parse_completion(data)))
        if "stop" not in features:
            deltas = list(stop_at(prompt.stop_sequences, deltas))
        return to_whole_answer(deltas, prompt.tool)

    def _mapper(self) -> ChatMapper | ResponsesMapper:
        return ChatMapper() if self._is_chat else ResponsesMapper()

    def _read_whole(self, response: Response) -> Generator[Delta]:
        yield from self._map_whole(parse_completion(response.body.read(MAX_WHOLE_BYTES)))

    def _read_stream(self, response: Response) -> Generator[Delta]:
        """Yield the deltas of a stream; it ends with its end mark, or with its connection."""
        with closing(read_sse(response)) as events:
            yield from read_deltas(events, self._mapper(), (HTTPError, OSError))

    def _map_whole(self, answer: Members) -> list[Delta]:
        if not self._is_chat:
            return ResponsesMapper().map_response(answer)
        mapper = ChatMapper()
        deltas = mapper.map_chunk(answer)
        mapper.has_ended = bool(answer.get("choices"))
        return deltas + mapper.end()

    def _ask(self, prompt: Prompt, call: Callable[[Body], T], *, is_stream: bool) -> tuple[T, set[Feature]]:
        """Return the result of the call, and the features of the request that was accepted."""
        features = features_of(prompt, is_stream=is_stream, is_chat=self._is_chat, is_openai=self._is_vendor)
        for feature in [each for each in features if self._refused.has(prompt.model, each)]:
            _leave_out(feature, features)
        refused: list[FeatureRefused] = []
        build = build_chat if self._is_chat else build_responses
        while True:
            try:
                body = build(prompt, features, is_stream=is_stream)
                result = call(body if prompt.tool else merge(body, self._request))
            except FeatureRefused as refusal:
                tried = [each.feature for each in refused]
                if refusal.feature not in features or _OTHER_LIMIT.get(refusal.feature) in tried:
                    raise
                refused.append(refusal)
                _leave_out(refusal.feature, features)
                continue
            self._refused.add(prompt.model, [each.feature for each in refused if each.is_general])
            return result, features


def _leave_out(feature: Feature, features: set[Feature]) -> None:
    features.remove(feature)
    if feature in _OTHER_LIMIT:
        features.add(_OTHER_LIMIT[feature])
