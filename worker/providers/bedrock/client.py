"""Amazon Bedrock by ConverseStream and Converse, through boto3."""

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
from millrace.worker.providers.bedrock.arguments import arguments_for
from millrace.worker.providers.bedrock.errors import failure_of
from millrace.worker.providers.bedrock.mapping import Mapper
from millrace.worker.providers.bedrock.models import traits_of
from millrace.worker.providers.bedrock.whole_answer import whole_of
from millrace.worker.providers.bedrock.wire import read_events
from millrace.worker.providers.protocol import Delta, Prompt, WholeAnswer
from millrace.worker.settings.schema import Settings

CONNECT_SECONDS = 5
_PROBE = (PromptMessage("user", "."),)

_log = get_logger(__name__)


class Bedrock:
    """One boto3 client, for up to `concurrency` streams at once."""

    name = "bedrock"

    def __init__(self, settings: Settings, concurrency: int) -> None:
        config = Config(
            # Whole requests must not be repeated unseen: what is asked again, `retry.py` asks.
            retries={"total_max_attempts": 1},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=settings.bedrock.read_seconds,
            max_pool_connections=concurrency,  # the default of 10 would throw connections away
            tcp_keepalive=True,
        )
        self._client: Any = Session().client(
            "bedrock-runtime",
            region_name=settings.bedrock.region,  # boto3 itself does not read AWS_REGION
            endpoint_url=settings.bedrock.endpoint_url or None,
            config=config,
        )
        self._caches = settings.models.prompt_caching
        self._warm_up(settings)

    def _warm_up(self, settings: Settings) -> None:
        """Find endpoint, address and credentials and sign once, which costs the first call tens of milliseconds."""
        try:
            self._client.generate_presigned_url(
                "converse_stream", Params=arguments_for(Prompt(settings.models.model_id, _PROBE, 1), caches=False)
            )
            socket.getaddrinfo(urlsplit(self._client.meta.endpoint_url).hostname, None)
        except (BotoCoreError, OSError) as error:  # said again, per answer, when it matters
            _log.warning("bedrock_not_ready", error=error)

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def stream(self, prompt: Prompt) -> Generator[Delta]:
        """Ask the model and yield its deltas; raises `Failure`."""
        mapper = Mapper()
        with _failures():
            response = self._client.converse_stream(**self._arguments(prompt))
            with closing(response["stream"]) as events:
                for event in read_events(events):
                    yield from mapper.deltas(event)

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Ask the model by Converse and return its whole answer; raises `Failure`."""
        with _failures():
            return whole_of(self._client.converse(**self._arguments(prompt)), prompt.tool)

    def _arguments(self, prompt: Prompt) -> dict[str, Any]:
        return arguments_for(prompt, caches=self._caches and traits_of(prompt.model).caches)


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        # The service's own words may quote the prompt: only the kind of mishap goes to the log.
        _log.warning("bedrock_failed", error=type(error).__name__, code=failure.code)
        raise failure from error
