"""The OpenAI client over real sockets, against servers that answer with exact bytes."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers import reading
from millrace.worker.providers.openai.client import OpenAI
from millrace.worker.providers.protocol import Delta, Details, Prompt, Started, Stopped, Tool
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate, wait_until
from tests.worker.providers.http_server import chunked, hang, plain, serving

PROMPT = Prompt("m", (PromptMessage("user", "?"),), 100)
TEXT = {"choices": [{"index": 0, "delta": {"content": "Yes."}}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
ANSWER = {"choices": [{"index": 0, "message": {"content": "Yes."}, "finish_reason": "stop"}]}

MakeClient = Callable[..., OpenAI]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    clients: list[OpenAI] = []

    def make(url: str, **settings: str) -> OpenAI:
        own = {f"MILLRACE_OPENAI_{name.upper()}": value for name, value in settings.items()}
        clients.append(OpenAI(load({"MILLRACE_OPENAI_BASE_URL": url} | own), concurrency=10))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


def sse(*events: Any) -> list[bytes]:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in events]
    return [f"data: {text}\n\n".encode() for text in texts]


def content(deltas: list[Started | Delta]) -> list[Delta]:
    """Return the deltas without their start and details."""
    return [delta for delta in deltas if not isinstance(delta, Started | Details)]


def body_of(request: bytes) -> dict[str, Any]:
    return json.loads(request.partition(b"\r\n\r\n")[2])


def test_a_stream_is_asked_for_at_its_url_and_its_connection_is_reused(make_client: MakeClient) -> None:
    with serving(chunked(sse(TEXT, STOP, USAGE, "[DONE]"))) as server:
        openai = make_client(f"{server.url}/v1/?version=1", api_key="secret")
        for _ in range(3):
            deltas = list(openai.stream(PROMPT))
            assert deltas == [Started("openai", "m"), Chunk("Yes."), Stopped("end_turn"), Usage(5, 2)]
        assert server.connections == 1, "the official SDK opens one for each stream"
        head = server.requests[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
        assert head[0] == "POST /v1/chat/completions?version=1 HTTP/1.1"
        assert "Authorization: Bearer secret" in head
        list(make_client(server.url, api="responses").stream(PROMPT))
        assert server.requests[-1].startswith(b"POST /responses HTTP/1.1\r\n")
        assert b"authorization" not in server.requests[-1].lower(), "without a key no header"


def test_a_finished_answer_is_whole_whatever_follows_it(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REST_SECONDS", 0.1)

    def answer(connection: Any, request: bytes) -> None:
        connection.sendall(chunked(sse(TEXT, STOP), end=b""))
        path = request.split(b" ")[1]
        if path.startswith(b"/garbage"):
            connection.sendall(b"9\r\ndata: {\n\n\r\nzz")
        if path.startswith(b"/reset"):
            connection.shutdown(socket.SHUT_WR)
        hang(connection)

    with serving(answer) as server:
        for number, path in enumerate(("/garbage", "/reset", "/silence"), 1):
            deltas = content(list(make_client(server.url + path).stream(PROMPT)))
            assert deltas == [Chunk("Yes."), Stopped("end_turn")], path
            wait_until(lambda number=number: len(server.closed_at) == number, "the close")


def test_an_answer_without_an_end_is_truncated_and_one_that_is_cut_is_an_error(make_client: MakeClient) -> None:
    with serving(chunked([b": ping\n\n", *sse(TEXT)])) as server:
        assert content(list(make_client(server.url).stream(PROMPT))) == [Chunk("Yes.")]

    def cut(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked(sse(TEXT), end=b""))
        connection.shutdown(socket.SHUT_WR)

    with serving(cut) as server:
        received: list[Any] = []

        def read() -> None:
            for delta in make_client(server.url).stream(PROMPT):
                received.append(delta)  # noqa: PERF402 - kept if the stream fails

        with pytest.raises(ProviderError) as raised:
            read()
        assert (raised.value.code, content(received)) == ("provider_unavailable", [Chunk("Yes.")])


def test_a_server_that_answers_in_one_piece_is_read_like_a_stream(make_client: MakeClient) -> None:
    with serving(plain(200, json.dumps(ANSWER | {"usage": USAGE["usage"]}).encode())) as server:
        started, *deltas = make_client(server.url).stream(PROMPT)
        assert started == Started("openai", "m", "whole")
        assert content(deltas) == [Chunk("Yes."), Stopped("end_turn"), Usage(5, 2)]
    output = [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}]
    with serving(plain(200, json.dumps({"status": "completed", "output": output}).encode())) as server:
        deltas = content(list(make_client(server.url, api="responses").stream(PROMPT)))
        assert deltas == [Chunk("Yes."), Stopped("end_turn")]


def test_an_error_is_read_in_an_event_of_its_own(make_client: MakeClient) -> None:
    events = [*sse(TEXT), b'event: error\ndata: {"message": "Slow down", "code": 429}\n\n']
    for api in ("chat", "responses"):
        with serving(chunked(events)) as server, pytest.raises(ProviderError) as raised:
            list(make_client(server.url, api=api).stream(PROMPT))
        assert raised.value.code == "provider_throttled"


def refusing(*fields: str, answer: bytes) -> Callable[[Any, bytes], None]:
    """Return a server that rejects requests with any of these fields."""

    def serve(connection: Any, request: bytes) -> None:
        found = next((field for field in fields if field in body_of(request)), None)
        message = json.dumps({"error": {"message": f"Unsupported parameter: '{found}'", "param": found}}).encode()
        connection.sendall(plain(400, message) if found else answer)

    return serve


def test_a_field_that_a_server_refuses_is_left_out_from_then_on(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    fields = ("stream_options", "max_tokens", "stop")
    answer = chunked(
        sse({"choices": [{"delta": {"content": "Yes. STO"}}]}, {"choices": [{"delta": {"content": "P no"}}]})
    )
    with serving(refusing(*fields, answer=answer)) as server:
        openai = make_client(server.url)
        prompt = Prompt("m", PROMPT.messages, 100, stop_sequences=("STOP",))
        for requests in (4, 5):
            assert content(list(openai.stream(prompt))) == [Chunk("Yes. "), Stopped("stop_sequence")]
            assert len(server.requests) == requests
        assert body_of(server.requests[-1]) == {
            "model": "m",
            "messages": [{"role": "user", "content": "?"}],
            "max_completion_tokens": 100,
            "stream": True,
        }
        assert caplog.text.count("model_refuses_feature") == 3
        list(openai.stream(Prompt("other", PROMPT.messages, 100)))
        assert len(server.requests) == 8, "another model may take them"


def test_a_request_that_is_refused_with_either_limit_is_not_made_again(make_client: MakeClient) -> None:
    with serving(refusing("max_tokens", "max_completion_tokens", answer=b"")) as server:
        with pytest.raises(ProviderError) as raised:
            list(make_client(server.url).stream(PROMPT))
        assert (raised.value.code, len(server.requests)) == ("provider_rejected", 2)


def test_one_invalid_schema_costs_the_other_users_nothing(make_client: MakeClient) -> None:
    def serve(connection: Any, request: bytes) -> None:
        is_odd = body_of(request).get("response_format", {}).get("json_schema", {}).get("schema") == {"odd": 1}
        error = {"error": {"message": "Invalid schema for response_format 'answer'"}}
        connection.sendall(plain(400, json.dumps(error).encode()) if is_odd else chunked(sse(TEXT, STOP, "[DONE]")))

    with serving(serve) as server:
        openai = make_client(server.url)
        for schema in ({"odd": 1}, {"type": "object"}):
            assert list(openai.stream(Prompt("m", PROMPT.messages, 100, schema=schema)))
        formats = ["response_format" in body_of(request) for request in server.requests]
    assert formats == [True, False, True]
    assert body_of(server.requests[1])["messages"][-1]["content"].endswith('{"odd": 1}')


def test_an_answer_uses_the_forced_tool_or_is_written_as_instructed(make_client: MakeClient) -> None:
    tool = Tool("name_it", "Names it.", {"type": "object"})
    prompt = Prompt("m", PROMPT.messages, 100, tool=tool)
    call = {"id": "a", "function": {"name": "name_it", "arguments": '{"title": "Mills"}'}}
    used = {"choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "stop"}]}
    with serving(plain(200, json.dumps(used).encode())) as server:
        assert make_client(server.url).answer(prompt).tool_input == {"title": "Mills"}
    text = {"choices": [{"message": {"content": 'Sure: {"title": "Mills"}.'}, "finish_reason": "stop"}]}
    with serving(refusing("tools", answer=plain(200, json.dumps(text).encode()))) as server:
        openai = make_client(server.url)
        for requests in (2, 3):
            assert openai.answer(prompt).tool_input == {"title": "Mills"}
            assert len(server.requests) == requests


def test_models_that_lack_a_feature_answer_without_it(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    question = (PromptMessage("user", emulate(text="Yes.")),)
    openai = make_client(f"{emulator.url}/v1", api_key="local")
    for model in ("no-usage", "no-schema", "no-stop", "no-max-completion", "gpt-5-mini", "o4-mini"):
        prompt = Prompt(model, question, 100, stop_sequences=("never",), schema={"type": "object"})
        found = content(list(openai.stream(prompt)))
        assert "".join(delta.content for delta in found if isinstance(delta, Chunk)) == "Yes.", model
        assert Stopped("end_turn") in found, model
    tool = Tool("name_it", "Names it.", {"type": "object", "properties": {"a": {"type": "integer"}}})
    for model in ("m", "no-tool-choice"):
        prompt = Prompt(model, (PromptMessage("user", "There are 4 mills."),), 100, tool=tool)
        assert openai.answer(prompt).tool_input == {"a": 4}, model


def test_a_whole_answer_of_any_shape_is_an_answer_or_a_failure(make_client: MakeClient) -> None:
    tool = Tool("name_it", "Names it.", {"type": "object"})
    with_tool, cut = (
        Prompt("m", PROMPT.messages, 100, tool=tool),
        {"choices": [{"message": {}, "finish_reason": "length"}]},
    )
    cases: list[tuple[bytes, Prompt, str]] = [
        (b"", PROMPT, "truncated"),
        (b'{"choices": [', PROMPT, "truncated"),
        (b"{}", PROMPT, "truncated"),
        (b"[]", PROMPT, "provider_rejected"),
        (b'{"choices": [5]}', PROMPT, "provider_rejected"),
        (b'{"choices": 5}', PROMPT, "provider_rejected"),
        (b'{"choices": [{"finish_reason": "content_filter"}]}', PROMPT, "content_filtered"),
        (b'{"choices": [{"message": {"refusal": "No."}, "finish_reason": "stop"}]}', PROMPT, "content_filtered"),
        (b'{"error": {"code": 503}}', PROMPT, "provider_unavailable"),
        (json.dumps(cut).encode(), with_tool, "truncated"),
        (json.dumps(ANSWER).encode(), with_tool, "provider_rejected"),
    ]
    for body, prompt, code in cases:
        with serving(plain(200, body)) as server, pytest.raises(ProviderError) as raised:
            make_client(server.url).answer(prompt)
        assert raised.value.code == code, body
    whole = {"choices": [{"message": {"content": "Yes. STOP no"}}]}
    with serving(refusing("stop", answer=plain(200, json.dumps(whole).encode()))) as server:
        answer = make_client(server.url).answer(Prompt("m", PROMPT.messages, 100, stop_sequences=("STOP",)))
        assert (answer.text, answer.tool_input, answer.usage.exact) == ("Yes. ", None, False)


def test_the_limit_has_the_name_that_the_vendors_own_servers_take(make_client: MakeClient) -> None:
    expected = {
        "https://api.openai.com/v1": True,
        "https://eu.api.openai.com/v1": True,
        "https://a.openai.azure.com/openai/v1": True,
        "https://openai.com.example.org/v1": False,
        "https://notopenai.com/v1": False,
        "http://127.0.0.1:11434/v1": False,
    }
    assert {url: make_client(url, api_key="k")._is_vendor for url in expected} == expected


def test_many_streams_at_once_each_get_their_own_answer(make_client: MakeClient) -> None:
    def answer(connection: Any, request: bytes) -> None:
        text = body_of(request)["messages"][0]["content"]
        connection.sendall(chunked([], end=b""))
        for piece in [*sse({"choices": [{"delta": {"content": text}}]}, STOP), b"data: [DONE]\n\n"]:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            gevent.sleep(0.001)
        connection.sendall(b"0\r\n\r\n")

    with serving(answer) as server:
        openai = make_client(server.url)

        def ask(text: str) -> list[Delta]:
            return content(list(openai.stream(Prompt("m", (PromptMessage("user", text),), 9))))

        readers = {str(number): gevent.spawn(ask, str(number)) for number in range(20)}
        found = {text: reader.get(timeout=60) for text, reader in readers.items()}
    assert found == {text: [Chunk(text), Stopped("end_turn")] for text in readers}
