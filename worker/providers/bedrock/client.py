"""The Bedrock provider: ConverseStream and Converse through boto3."""

import socket
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from millrace.worker.contract.request import PromptMessage
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.bedrock.arguments import build_arguments
from millrace.worker.providers.bedrock.errors import map_error
from millrace.worker.providers.bedrock.mapping import EventMapper, parse_answer
from millrace.worker.providers.bedrock.models import find_traits
from millrace.worker.providers.bedrock.wire import normalize_response, read_events
from millrace.worker.providers.protocol import Delta, Prompt, WholeAnswer
from millrace.worker.settings.schema import Settings

CONNECT_SECONDS = 5
_WARM_UP_MESSAGES = (PromptMessage("user", "."),)

_log = get_logger(__name__)


class Bedrock:
    """One boto3 client, for up to `concurrency` streams at once."""

    name = "bedrock"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        config = Config(
            # botocore would repeat whole requests, which are paid for each time: `retry.py` retries instead.
            retries={"total_max_attempts": 1},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=settings.bedrock.read_seconds,
            max_pool_connections=concurrency,  # with the default of 10, connections beyond it would be discarded
            tcp_keepalive=True,
        )
        self._client: Any = Session().client(
            "bedrock-runtime",
            region_name=settings.bedrock.region,  # boto3 itself does not read AWS_REGION
            endpoint_url=settings.bedrock.endpoint_url or None,
            config=config,
        )
        self._client.meta.events.register("before-parse.bedrock-runtime", normalize_response)
        self._is_caching_on = settings.models.prompt_caching
        self._warm_up(settings)

    def _warm_up(self, settings: Settings) -> None:
        """Resolve endpoint, address and credentials and sign once, which costs a first call tens of milliseconds."""
        prompt = Prompt(settings.models.model_id, _WARM_UP_MESSAGES, 1)
        try:
            self._client.generate_presigned_url("converse_stream", Params=build_arguments(prompt, is_cached=False))
            socket.getaddrinfo(urlsplit(self._client.meta.endpoint_url).hostname, None)
        except (BotoCoreError, OSError) as error:  # the start goes on: each answer reports the same error itself
            _log.warning("bedrock_warm_up_failed", error=error)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def stream(self, prompt: Prompt) -> Generator[Delta]:
        """Call ConverseStream and yield its deltas; raises GenerationFailed."""
        mapper = EventMapper()
        with _mapped_errors():
            response = self._client.converse_stream(**self._arguments(prompt))
            with closing(response["stream"]) as events:
                for event in read_events(events):
                    yield from mapper.map(event)

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Call Converse and return its whole answer; raises GenerationFailed."""
        with _mapped_errors():
            return parse_answer(self._client.converse(**self._arguments(prompt)), prompt.tool)

    def _arguments(self, prompt: Prompt) -> dict[str, Any]:
        is_cached = self._is_caching_on and find_traits(prompt.model).supports_caching
        return build_arguments(prompt, is_cached=is_cached)


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
