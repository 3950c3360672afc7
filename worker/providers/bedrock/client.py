"""The Bedrock provider: ConverseStream and Converse through boto3."""

import socket
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from millrace.worker.contract.request import PromptMessage
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.bedrock.arguments import ANSWER_TOOL, Feature, build_arguments, feature_of, merge
from millrace.worker.providers.bedrock.errors import map_error, may_refuse_feature
from millrace.worker.providers.bedrock.mapping import EventMapper, parse_answer
from millrace.worker.providers.bedrock.request import checked_request
from millrace.worker.providers.bedrock.wire import normalize_response, read_events
from millrace.worker.providers.protocol import Delta, Prompt, Started, WholeAnswer
from millrace.worker.settings.parsers import is_direct
from millrace.worker.settings.schema import Settings

CONNECT_SECONDS = 5
_WARM_UP_MESSAGES = (PromptMessage("user", "."),)

_log = get_logger(__name__)


class Bedrock:
    """One boto3 client, for up to `concurrency` streams at once.

    Not every model has cache points, forced tools and an output format. A request that is refused with one is made
    once more without it; if that is accepted, this process leaves the feature out for the model from then on.
    """

    name = "bedrock"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        config = Config(
            # botocore would repeat whole requests, which are paid for each time: `retry.py` retries instead.
            retries={"total_max_attempts": 1},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=settings.providers.read_seconds,
            max_pool_connections=concurrency,  # with the default of 10, connections beyond it would be discarded
            tcp_keepalive=True,
            # None: the proxy of the environment (HTTPS_PROXY, NO_PROXY), as for any other program
            proxies={} if is_direct(settings.bedrock.endpoint_url) else None,
        )
        self._client: Any = Session().client(
            "bedrock-runtime",
            region_name=settings.bedrock.region,  # boto3 itself does not read AWS_REGION
            endpoint_url=settings.bedrock.endpoint_url or None,
            config=config,
        )
        self._client.meta.events.register("before-parse.bedrock-runtime", normalize_response)
        self._request = checked_request(self._client, settings.bedrock.request)
        self._has_metadata = settings.bedrock.metadata
        self._is_caching = settings.models.prompt_caching
        self._refused: set[tuple[str, Feature]] = set()
        self._warm_up(settings)

    def _warm_up(self, settings: Settings) -> None:
        """Resolve endpoint, address and credentials and sign once, which costs a first call tens of milliseconds.

        A bearer token (`AWS_BEARER_TOKEN_BEDROCK`) is sent as it is; signing would look for other credentials.
        """
        prompt = Prompt(settings.default_model, _WARM_UP_MESSAGES, 1)
        try:
            if self._client._request_signer._auth_token is None:  # noqa: SLF001 - a test checks that it exists
                self._client.generate_presigned_url("converse_stream", Params=build_arguments(prompt))
            socket.getaddrinfo(urlsplit(self._client.meta.endpoint_url).hostname, None)
        except (BotoCoreError, OSError) as error:  # the start goes on: each answer reports the same error itself
            _log.warning("bedrock_warm_up_failed", error=error)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Call ConverseStream and yield its deltas; raises ProviderError."""
        with _mapped_errors():
            response, feature = self._call(self._client.converse_stream, prompt)
            mapper = EventMapper(ANSWER_TOOL.name if feature == "answer_tool" else "")
            with closing(response["stream"]) as events:
                yield Started(self.name, prompt.model)
                for event in read_events(events):
                    yield from mapper.map(event)

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Call Converse and return its whole answer; raises ProviderError."""
        with _mapped_errors():
            response, feature = self._call(self._client.converse, prompt)
            return parse_answer(response, prompt.tool, is_instructed=feature != "forced_tool")

    def _call(self, operation: Callable[..., Any], prompt: Prompt) -> tuple[Any, Feature | None]:
        """Return the response, and the feature that the accepted request used."""
        feature = self._feature_of(prompt)
        try:
            return operation(**self._arguments(prompt, feature)), feature
        except ClientError as error:
            if feature is None or not may_refuse_feature(error):
                raise
        response = operation(**self._arguments(prompt, None))
        if prompt.schema is None:  # else the request may have been refused because of the user's schema
            self._refused.add((prompt.model, feature))
        _log.warning("model_refuses_feature", model=prompt.model, feature=feature)
        return response, None

    def _feature_of(self, prompt: Prompt) -> Feature | None:
        """Return the feature that the request uses, unless the model has refused it."""
        feature = feature_of(prompt, is_caching=self._is_caching)
        return None if (prompt.model, feature) in self._refused else feature

    def _arguments(self, prompt: Prompt, feature: Feature | None) -> dict[str, Any]:
        prompt = prompt if self._has_metadata else replace(prompt, metadata={})
        arguments = build_arguments(prompt, feature)
        return arguments if prompt.tool else merge(arguments, self._request)


@contextmanager
def _mapped_errors() -> Generator[None]:
    try:
        yield
    except Exception as error:
        failure = map_error(error)
        if failure is None:
            raise
        # The service's message may quote the prompt: only the type and the code are logged.
        _log.warning("bedrock_call_failed", error=type(error).__name__, code=failure.code)
        raise failure from error
