"""The boto3 client of Bedrock's two providers: its construction, its warm-up and its errors."""

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from millrace.worker.contract.request import PromptMessage
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.bedrock.errors import map_error
from millrace.worker.providers.bedrock.wire import normalize_response
from millrace.worker.settings.parsers import is_direct
from millrace.worker.settings.schema import Settings

CONNECT_SECONDS = 5
WARM_UP_MESSAGES = (PromptMessage("user", "."),)

_log = get_logger(__name__)


def make_client(settings: Settings, concurrency: int) -> Any:
    """Return a boto3 client for up to `concurrency` streams at once."""
    config = Config(
        # Both cost each call's time to its first byte: what Millrace sends is of the service's form, and the operator's
        # own arguments are checked at the start; and botocore would write a new User-Agent for each request.
        parameter_validation=False,
        user_agent=f"millrace Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
        # botocore would repeat whole requests, which are paid for each time: `retry.py` retries instead.
        retries={"total_max_attempts": 1},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=settings.providers.read_seconds,
        max_pool_connections=concurrency,  # with the default of 10, connections beyond it would be discarded
        tcp_keepalive=True,
        # None: the proxy of the environment (HTTPS_PROXY, NO_PROXY), as for any other program
        proxies={} if is_direct(settings.bedrock.endpoint_url) else None,
    )
    client: Any = Session().client(
        "bedrock-runtime",
        region_name=settings.bedrock.region,  # boto3 itself does not read AWS_REGION
        endpoint_url=settings.bedrock.endpoint_url or None,
        config=config,
    )
    client.meta.events.register("before-parse.bedrock-runtime", normalize_response)
    return client


def warm_up(client: Any, operation: str, arguments: dict[str, Any]) -> None:
    """Resolve endpoint, address and credentials and sign once, which costs a first call tens of milliseconds.

    A bearer token (`AWS_BEARER_TOKEN_BEDROCK`) is sent as it is; signing would look for other credentials.
    """
    try:
        if client._request_signer._auth_token is None:  # noqa: SLF001 - a test checks that it exists
            client.generate_presigned_url(operation, Params=arguments)
        socket.getaddrinfo(urlsplit(client.meta.endpoint_url).hostname, None)
    except (BotoCoreError, OSError) as error:  # the start goes on: each answer reports the same error itself
        _log.warning("bedrock_warm_up_failed", error=error)


@contextmanager
def mapped_errors() -> Generator[None]:
    """Raise the errors of the service, botocore and the connection as ProviderError."""
    try:
        yield
    except Exception as error:
        failure = map_error(error)
        if failure is None:
            raise
        # The service's message may quote the prompt: only the type and the code are logged.
        _log.warning("bedrock_call_failed", error=type(error).__name__, code=failure.code)
        raise failure from error
