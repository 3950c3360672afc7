"""OpenAI's own SDK, sync and async, and programs as they are written for OpenAI, with another base URL."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI, Stream
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from millrace.webapp.facades.openai.sdk_headers import SDK_HEADERS
from millrace.webapp.guard.cors import ALLOWED_HEADERS
from tests.client import Client, emulate, wait_for
from tests.docs.pages import blocks
from tests.journeys.cutting_proxy import CuttingProxy
from tests.journeys.npm_packages import NpmPackages
from tests.journeys.test_api_keys import keys
from tests.system import System

TEXT = "A millrace carries water to the wheel."
EARLIER: Any = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi."}]
LETTER: dict[str, Any] = {"to": "Ann", "pages": 2}


class Letter(BaseModel):
    """The form of an answer."""

    to: str
    pages: int


@pytest.fixture(scope="module")
def key(system: System) -> str:
    return keys(system, "add", "ada", "--name", "openai")


def connect(url: str, key: str, **options: Any) -> OpenAI:
    """Return the SDK's client; it retries nothing, so that a test sees each failure."""
    # Without `verify=False`, reading the certificates of the world costs more than all the requests of a test.
    http = openai.DefaultHttpxClient(trust_env=False, verify=False)
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, http_client=http, **options)


@pytest.fixture
def sdk(system: System, key: str) -> Iterator[OpenAI]:
    with connect(system.url, key) as each:
        yield each


def asking(**script: Any) -> Any:
    return [{"role": "user", "content": emulate(**script)}]


def resume(sdk: OpenAI, completion: str, after: int) -> Iterator[ChatCompletionChunk]:
    """Yield the chunks after the first `after` ones, as a program does that counts those it has received."""
    return sdk.get(
        f"/chat/completions/{completion}",
        cast_to=ChatCompletionChunk,
        stream=True,
        stream_cls=Stream[ChatCompletionChunk],
        options={"params": {"stream": "true", "include_usage": "true", "starting_after": after}},
    )


def collect(stream: Iterator[ChatCompletionChunk], chunks: list[ChatCompletionChunk]) -> None:
    """Append the chunks of a stream as they come; those before an error stay."""
    chunks.extend(stream)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_plain_completion(sdk: OpenAI) -> None:
    completion = sdk.chat.completions.create(model=sdk.models.list().data[0].id, messages=asking(text=TEXT))
    (choice,) = completion.choices
    assert (choice.message.content, choice.finish_reason) == (TEXT, "stop")
    assert completion.usage
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0
    fetched = sdk.chat.completions.retrieve(completion.id)
    assert fetched == completion
    assert completion._request_id


def test_stream_has_typed_chunks_with_the_role_first_and_the_usage_last(sdk: OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model=sdk.models.list().data[0].id,
        messages=[*EARLIER, *asking(text=TEXT, reasoning="Hm.")],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == TEXT
    thought = [getattr(each.choices[0].delta, "reasoning_content", None) or "" for each in chunks if each.choices]
    assert "".join(thought) == "Hm."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage
    assert all(each.usage is None for each in chunks[:-1])
    assert len({(each.id, each.created, each.model) for each in chunks}) == 1


def test_async_client_streams_and_waits(system: System, key: str) -> None:
    async def ask() -> tuple[str, str | None]:
        http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=False)
        async with AsyncOpenAI(base_url=f"{system.url}/v1", api_key=key, http_client=http) as sdk:
            model = (await sdk.models.list()).data[0].id
            stream = await sdk.chat.completions.create(model=model, messages=asking(text=TEXT), stream=True)
            streamed = text_of([chunk async for chunk in stream])
            whole = await sdk.chat.completions.create(model=model, messages=asking(text=TEXT))
            return streamed, whole.choices[0].message.content

    with ThreadPoolExecutor(1) as pool:  # Playwright's tests have an event loop in the main thread
        assert pool.submit(asyncio.run, ask()).result() == (TEXT, TEXT)


def test_answer_of_a_form_is_parsed(sdk: OpenAI, model: str) -> None:
    messages = asking(text=json.dumps(LETTER))
    parsed = sdk.chat.completions.parse(model=model, messages=messages, response_format=Letter)
    assert parsed.choices[0].message.parsed == Letter(**LETTER)
    with sdk.chat.completions.stream(model=model, messages=messages, response_format=Letter) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_completion().choices[0].message.parsed == Letter(**LETTER)
    assert {"chunk", "content.delta", "content.done"} <= kinds
    any_json = sdk.chat.completions.create(model=model, messages=messages, response_format={"type": "json_object"})
    assert isinstance(json.loads(any_json.choices[0].message.content or ""), dict)


def test_stream_helper_accumulates_text_reasoning_and_tool_calls(sdk: OpenAI, model: str) -> None:
    tool = {"name": "weather", "input": {"city": "Ghent"}, "stop_reason": "tool_use"}
    messages = asking(text=TEXT, reasoning="Hm.", tool=tool)
    with sdk.chat.completions.stream(model=model, messages=messages) as stream:
        stream.until_done()
        (choice,) = stream.get_final_completion().choices
    assert (choice.message.content, choice.finish_reason) == (TEXT, "tool_calls")
    assert getattr(choice.message, "reasoning_content", "") == "Hm."
    (call,) = choice.message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Ghent"})


def test_cited_pages_are_annotations_in_a_stream_and_in_a_completion(sdk: OpenAI, model: str) -> None:
    messages = asking(text=TEXT, search=[{"title": "Mill", "url": "https://mill.example", "cited": "water"}])
    with sdk.chat.completions.stream(model=model, messages=messages) as stream:
        streamed: Any = stream.get_final_completion()
    whole: Any = sdk.chat.completions.create(model=model, messages=messages)
    for completion in (streamed, whole):
        (annotation,) = completion.choices[0].message.annotations
        assert (annotation.url_citation.url, annotation.url_citation.title) == ("https://mill.example", "Mill")
        assert TEXT[annotation.url_citation.start_index : annotation.url_citation.end_index] == TEXT


@pytest.fixture
def model(sdk: OpenAI) -> str:
    return sdk.models.list().data[0].id


def test_models_are_listed_and_retrieved(sdk: OpenAI, model: str) -> None:
    assert sdk.models.retrieve(model).id == model
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("gpt-none")


def test_rejections_raise_the_sdks_exceptions(system: System, sdk: OpenAI, model: str) -> None:
    create: Any = sdk.chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(model=model, messages=asking(text="a"), n=2)
    assert (bad.value.param, bad.value.code, bad.value.type) == ("n", "unsupported_parameter", "invalid_request_error")
    with pytest.raises(openai.BadRequestError, match="Unknown parameter"):
        create(model=model, messages=asking(text="a"), extra_body={"temprature": 1})
    with pytest.raises(openai.NotFoundError) as absent:
        create(model="gpt-none", messages=asking(text="a"))
    assert absent.value.code == "model_not_found"
    with pytest.raises(openai.PermissionDeniedError) as denied:
        create(model=model, messages=[{"role": "developer", "content": "a"}, *asking(text="a")])
    assert denied.value.param == "messages[0]"
    with connect(system.url, "mr-wrong") as stranger, pytest.raises(openai.AuthenticationError) as wrong:
        stranger.models.list()
    assert wrong.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError):
        sdk.embeddings.create(model=model, input="a")


def test_failures_raise_the_sdks_exceptions(sdk: OpenAI, model: str) -> None:
    create: Any = sdk.chat.completions.create
    with pytest.raises(openai.RateLimitError):
        create(model=model, messages=asking(fault="throttle"))
    with pytest.raises(openai.InternalServerError):
        create(model=model, messages=asking(fault="validation"))
    with pytest.raises(openai.BadRequestError) as filtered:
        create(model=model, messages=asking(text="", stop_reason="content_filtered"))
    assert filtered.value.code == "content_filter"
    chunks: list[ChatCompletionChunk] = []
    failing = create(model=model, messages=asking(text=TEXT, fault="disconnect", at=3), stream=True)
    with pytest.raises(openai.APIError) as cut:
        collect(failing, chunks)
    assert TEXT.startswith(text_of(chunks))
    assert text_of(chunks)
    assert cut.value.code == "provider_unavailable"
    with pytest.raises(openai.LengthFinishReasonError):
        sdk.chat.completions.parse(model=model, messages=asking(text=TEXT, stop_reason="max_tokens"))


def test_stream_that_is_cut_after_each_of_its_frames_is_resumed_there(
    system: System, sdk: OpenAI, key: str, model: str
) -> None:
    messages, usage = asking(text=TEXT, chars=8, rate=40), {"include_usage": True}
    ask: dict[str, Any] = {"model": model, "messages": messages, "stream": True, "stream_options": usage}
    number, last = 1, 2
    while number <= last:
        headers = {"Idempotency-Key": f"cut {number}"}
        chunks: list[ChatCompletionChunk] = []
        limits = [f"id: {number}\n\n".encode()]
        with CuttingProxy(system.url, limits.__getitem__) as proxy, connect(proxy.url, key) as cut:
            stream = cut.chat.completions.create(**ask, extra_headers=headers)
            with suppress(openai.APIConnectionError):
                collect(stream, chunks)
        if number > 5 and not proxy.cut:
            break  # this answer came in fewer pieces than the one before
        assert proxy.cut == 1
        taken = len(chunks)  # a cut may also lose the frame that the client has not read yet
        assert max(1, number - 1) <= taken <= number
        rest = list(resume(sdk, chunks[0].id, taken))
        again = sdk.chat.completions.create(**ask, extra_headers={**headers, "Last-Event-ID": str(taken)})
        assert list(again) == rest
        whole = chunks + rest
        assert whole == list(resume(sdk, chunks[0].id, 0))
        assert text_of(whole) == TEXT
        assert whole[-1].usage
        number, last = number + 1, len(whole)
    assert number > 5


def test_completion_is_stopped_from_elsewhere(sdk: OpenAI, model: str) -> None:
    stream = sdk.chat.completions.create(model=model, messages=asking(tokens=2000, rate=20), stream=True)
    first = next(iter(stream))
    status: Any = sdk.post(f"/chat/completions/{first.id}/cancel", cast_to=object)
    assert status["id"] == first.id
    *_, last = stream
    assert (last.choices[0].finish_reason, getattr(last, "cancelled_by", None)) == ("length", "user")
    assert sdk.chat.completions.retrieve(first.id).choices[0].finish_reason == "length"


def test_answer_of_the_native_api_is_followed_fetched_and_stopped(system: System, sdk: OpenAI, key: str) -> None:
    with Client(system.url) as native:
        native.http.headers["Authorization"] = f"Bearer {key}"
        generation = native.ask(emulate(text=TEXT, chars=4, rate=20))
        chunks = list(resume(sdk, f"chatcmpl-{generation}", 0))
        assert text_of(chunks) == TEXT
        whole = sdk.chat.completions.retrieve(f"chatcmpl-{generation}")
        assert whole.choices[0].message.content == TEXT
        endless = native.ask(emulate(tokens=2000, rate=20))
        running = sdk.chat.completions.with_raw_response.retrieve(f"chatcmpl-{endless}")
        assert (running.status_code, running.parse().choices[0].finish_reason) == (202, None)
        sdk.post(f"/chat/completions/chatcmpl-{endless}/cancel", cast_to=object)
        wait_for(lambda: native.snapshot(endless)["status"] == "cancelled", what="the cancel")
        # And the other way round.
        stream = sdk.chat.completions.create(model=whole.model, messages=asking(text=TEXT, rate=20), stream=True)
        own = next(iter(stream)).id
        received = native.whole(own.removeprefix("chatcmpl-"))
        assert "".join(each.event.get("content", "") for each in received if each.event["type"] == "chunk") == TEXT


def test_javascript_sdk_streams_fails_resumes_and_stops(system: System, key: str, npm_packages: NpmPackages) -> None:
    messages = {
        "text": emulate(text=TEXT, chars=8),
        "slow": emulate(text=TEXT, chars=4, rate=20),
        "throttled": emulate(fault="throttle"),
        "broken": emulate(text=TEXT, fault="disconnect", at=3),
        "endless": emulate(tokens=2000, rate=20),
    }
    with CuttingProxy(system.url, [b"id: 4\n\n"].__getitem__) as proxy:
        found = npm_packages.run("openai_chat.mjs", system.url, proxy.url, key, json.dumps(messages))
    allowed = f"{ALLOWED_HEADERS}, {', '.join(SDK_HEADERS)}".lower().split(", ")
    assert set(found.pop("headers")) <= {*allowed, "accept", "content-length"}, (
        "a page of another origin sends them too"
    )
    assert found == {
        "whole": TEXT,
        "streamed": TEXT,
        "usage": True,
        "helper": [TEXT, "stop"],
        "errors": {
            "refused": "BadRequestError unsupported_parameter n",
            "model": "NotFoundError model_not_found model",
            "key": "AuthenticationError invalid_api_key null",
            "throttled": "RateLimitError provider_throttled null",
            "midstream": "APIError provider_unavailable null",
        },
        "received": 4,
        "resumed": [TEXT, "stop"],
        "cancelled": ["length", "user"],
    }


def test_code_of_the_docs_runs_as_pasted(system: System, key: str, npm_packages: NpmPackages) -> None:
    def pasted(language: str) -> list[str]:
        codes = [each.code for each in blocks(language) if each.page.name == "use-from-openai.md"]
        assert all("http://127.0.0.1:8000" in code or "client" in code for code in codes)
        return [code.replace("http://127.0.0.1:8000", system.url).replace("mr-your-key", key) for code in codes]

    with redirect_stdout(StringIO()) as printed:
        namespace: dict[str, Any] = {}
        for code in pasted("python"):
            exec(code, namespace)
    assert "No model was called" in printed.getvalue()
    assert printed.getvalue().endswith("stop\n")
    for code in pasted("js"):
        process = npm_packages.start(npm_packages.add(code))
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "No model was called" in output
