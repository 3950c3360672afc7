"""The boto3 client of Bedrock's two providers: proxies and credentials."""

import socket
from collections.abc import Callable, Iterator

import gevent
import pytest

from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke
from millrace.worker.providers.protocol import Prompt
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate

SCRIPTED = emulate(text="Yes.")

MakeClient = Callable[[str], Bedrock | BedrockInvoke]


@pytest.fixture(params=[Bedrock, BedrockInvoke])
def make_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeClient]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    clients: list[Bedrock | BedrockInvoke] = []

    def build(url: str) -> Bedrock | BedrockInvoke:
        clients.append(request.param(load({"MILLRACE_BEDROCK_ENDPOINT_URL": url}), concurrency=10))
        return clients[-1]

    yield build
    for client in clients:
        client.close()


def test_a_local_endpoint_is_never_reached_through_the_proxy_of_the_environment_and_bedrock_is(
    make_client: MakeClient, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    prompt = Prompt("m", (PromptMessage("user", SCRIPTED),), 100)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        assert list(make_client(emulator.url).stream(prompt))
        reader = gevent.spawn(lambda: list(make_client("").stream(prompt)))
        connection, _ = proxy.accept()
        with connection:
            assert connection.recv(200).startswith(b"CONNECT bedrock-runtime.us-east-1.amazonaws.com:443 ")
        with pytest.raises(ProviderError) as raised:
            reader.get(timeout=30)
    assert raised.value.code == "provider_unavailable"


def test_missing_credentials_fail_each_answer_but_not_the_start(
    make_client: MakeClient, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    bedrock = make_client(emulator.url)
    with pytest.raises(ProviderError) as raised:
        list(bedrock.stream(Prompt("m", (PromptMessage("user", "?"),), 10)))
    assert (raised.value.code, raised.value.retryable) == ("provider_authentication", False)


def test_a_bearer_token_needs_no_other_credentials_at_the_start(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    make_client("http://127.0.0.1:9")
    assert "bedrock_warm_up_failed" in caplog.text
    caplog.clear()
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "a-token")
    make_client("http://127.0.0.1:9")
    assert not caplog.records
