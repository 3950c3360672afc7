"""The official OpenAI SDKs for Python and JavaScript, unmodified, with `/v1/responses` of the whole system."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.client import Client, emulate, wait_for
from tests.docs.pages import ROOT, blocks
from tests.journeys.conftest import Calls
from tests.journeys.npm_packages import NpmPackages
from tests.system import System

IMAGE = {"type": "input_image", "image_url": "x"}
TEXT = "caf\u00e9 \U0001f600 \u2028 one two three four"


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture(scope="module")
def key(system: System) -> str:
    command = [sys.executable, str(ROOT / "deploy" / "keys.py"), "add", "responses", "--state", str(system.state)]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    with Client(system.url) as client:
        headers = {"Authorization": f"Bearer {made}"}
        wait_for(lambda: client.http.get("/api/conversations", headers=headers).status_code == 200, 30, "the key")
    return made


@pytest.fixture
def sdk(system: System, key: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{system.url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def model(sdk: OpenAI) -> str:
    """Return the name of the default model, which the SDK's helper requires."""
    return sdk.responses.create(input=emulate(text="Hi.")).model


def text_of(events: list[Any]) -> str:
    return "".join(each.delta for each in events if each.type == "response.output_text.delta")


def test_whole_response_and_the_next_turn_of_its_conversation(sdk: OpenAI, calls: Calls) -> None:
    first = sdk.responses.create(input=emulate(text="One."))
    assert (first.output_text, first.status) == ("One.", "completed")
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens > 0
    question = emulate(text="Two.")
    second = sdk.responses.create(input=question, previous_response_id=first.id)
    assert second.output_text == "Two."
    (call,) = calls.of(question)
    assert [message["role"] for message in call["messages"]] == ["user", "assistant", "user"]
    branch = emulate(text="Other.")
    assert sdk.responses.create(input=branch, previous_response_id=first.id).output_text == "Other."
    (call,) = calls.of(branch)
    assert call["messages"][1]["content"][0]["text"] == "One."
    items = sdk.responses.input_items.list(second.id)
    assert [each.content[0].text for each in items] == [question]  # type: ignore[union-attr]
    fetched = sdk.responses.retrieve(second.id)
    assert fetched.output == second.output


def test_helper_streams_text_reasoning_and_the_final_response(sdk: OpenAI, model: str) -> None:
    with sdk.responses.stream(model=model, input=emulate(text=TEXT, chars=3, reasoning="Let me think.")) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert text_of(events) == final.output_text == TEXT
    assert [each.sequence_number for each in events] == list(range(len(events)))
    assert [each.type for each in final.output] == ["reasoning", "message"]
    assert final.output[0].summary[0].text == "Let me think."  # type: ignore[union-attr]
    with sdk.responses.stream(response_id=final.id, starting_after=4) as again:
        rest = list(again)
        assert again.get_final_response().output_text == TEXT
    assert [each.sequence_number for each in rest] == list(range(5, len(events)))


def test_background_stream_dropped_at_every_event_goes_on_without_a_hole(sdk: OpenAI) -> None:
    question = emulate(text=TEXT, chars=4, rate=50)
    received: list[Any] = []
    with sdk.responses.create(input=question, background=True, stream=True) as stream:
        received.append(next(iter(stream)))
    name = received[0].response.id
    while received[-1].type != "response.completed":
        last = received[-1].sequence_number
        with sdk.responses.retrieve(name, stream=True, starting_after=last) as stream:
            received.append(next(iter(stream)))
    assert [each.sequence_number for each in received] == list(range(len(received)))
    assert text_of(received) == received[-1].response.output_text == TEXT
    assert list(sdk.responses.retrieve(name, stream=True, starting_after=received[-1].sequence_number)) == []


def test_response_in_the_background_is_polled_to_its_end(sdk: OpenAI) -> None:
    response = sdk.responses.create(input=emulate(text="Later.", first_delay=0.5), background=True)
    assert response.status == "queued"
    done = wait_for(lambda: (found := sdk.responses.retrieve(response.id)).status == "completed" and found)
    assert done.output_text == "Later."


def test_cancel_stops_the_model_and_the_stream_ends_as_cancelled(sdk: OpenAI, calls: Calls) -> None:
    question = emulate(tokens=3000, chars=4, rate=29)  # no other test has this message
    with sdk.responses.create(input=question, background=True, stream=True) as stream:
        events = []
        for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta" and len(events) < 10:
                cancelled = sdk.responses.cancel(events[0].response.id)  # type: ignore[union-attr]
                assert cancelled.status == "cancelled"
    assert (events[-1].type, events[-1].response.status) == ("response.incomplete", "cancelled")  # type: ignore[union-attr]
    wait_for(lambda: [call["ended"] for call in calls.of(question)] == ["closed_by_client"], 30, "the end of the call")


def test_leaving_a_stream_in_the_foreground_stops_the_model(sdk: OpenAI, calls: Calls) -> None:
    question = emulate(tokens=3000, chars=3, rate=29)
    with sdk.responses.create(input=question, stream=True) as stream:
        assert any(event.type == "response.output_text.delta" for event in stream)
    wait_for(lambda: [call["ended"] for call in calls.of(question)] == ["closed_by_client"], 60, "the end of the call")


def test_deleted_response_is_gone(sdk: OpenAI) -> None:
    response = sdk.responses.create(input=emulate(text="Gone."))
    sdk.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        sdk.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.responses.create(input="a", previous_response_id=response.id)
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


def test_parse_returns_an_object_of_the_schema(sdk: OpenAI, model: str) -> None:
    question = emulate(text='{"name": "Ada", "age": 36}')
    parsed = sdk.responses.parse(input=question, text_format=Person)
    assert parsed.output_parsed == Person(name="Ada", age=36)
    with sdk.responses.stream(model=model, input=question, text_format=Person) as stream:
        assert stream.get_final_response().output_parsed == Person(name="Ada", age=36)
    anything = sdk.responses.create(input=emulate(text='{"a": 1}'), text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(anything.output_text), dict)


def test_answers_that_end_early_have_their_status(sdk: OpenAI, model: str) -> None:
    broken = sdk.responses.create(input=emulate(text="It breaks.", tokens=4, fault="disconnect", at=2))
    assert (broken.status, broken.error and broken.error.code) == ("failed", "server_error")
    with sdk.responses.stream(
        model=model, input=emulate(text="It breaks!", tokens=4, fault="disconnect", at=2)
    ) as stream:
        events = list(stream)
    assert events[-1].type == "response.failed"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].type"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
    ],
    ids=str,
)  # fmt: skip
def test_sdk_raises_an_error_that_names_the_parameter(sdk: OpenAI, body: dict[str, Any], param: str) -> None:
    create: Any = sdk.responses.create
    with pytest.raises(openai.BadRequestError) as caught:
        create(**{"input": "a", **body})
    assert caught.value.param == param


def test_async_sdk_streams_drops_resumes_and_cancels(system: System, key: str, model: str) -> None:
    async def journey() -> None:
        async with AsyncOpenAI(base_url=f"{system.url}/v1", api_key=key, max_retries=0, timeout=60) as sdk:
            async with sdk.responses.stream(model=model, input=emulate(text=TEXT, chars=5)) as stream:
                assert (await stream.get_final_response()).output_text == TEXT
            begun = await sdk.responses.create(input=emulate(text=TEXT, chars=4, rate=50), background=True, stream=True)
            received: list[Any] = []
            async for event in begun:
                received.append(event)
                if event.type == "response.output_text.delta":
                    break
            await begun.close()
            last = received[-1].sequence_number
            name = received[0].response.id
            received += [each async for each in await sdk.responses.retrieve(name, stream=True, starting_after=last)]
            assert [each.sequence_number for each in received] == list(range(len(received)))
            assert text_of(received) == TEXT
            running = await sdk.responses.create(input=emulate(tokens=3000, rate=30), background=True)
            assert (await sdk.responses.cancel(running.id)).status == "cancelled"

    with ThreadPoolExecutor(1) as pool:  # Playwright's tests have an event loop in the main thread
        pool.submit(asyncio.run, journey()).result()


def test_javascript_sdk_streams_drops_resumes_and_cancels(system: System, key: str, npm_packages: NpmPackages) -> None:
    questions = emulate(text=TEXT, chars=4, rate=50, reasoning="Hm."), emulate(tokens=3000, chars=4, rate=30)
    found = npm_packages.run("responses.mjs", f"{system.url}/v1", key, *questions)
    assert found["helper"] == {"text": TEXT, "status": "completed", "kinds": ["reasoning", "message"]}
    assert found["resumed"]["numbers"] == list(range(len(found["resumed"]["numbers"])))
    assert found["resumed"]["text"] == TEXT
    assert found["again"] == TEXT
    assert found["cancelled"] == ["cancelled", "response.incomplete", "cancelled"]
    assert found["error"] == [400, "tools", "unsupported_parameter"]


def test_code_of_the_docs_runs_as_pasted(system: System, key: str, npm_packages: NpmPackages) -> None:
    def pasted(language: str) -> list[str]:
        codes = [each.code for each in blocks(language) if each.page.name == "use-from-openai-responses.md"]
        assert codes
        return [code.replace("http://127.0.0.1:8000", system.url).replace("mr-your-key", key) for code in codes]

    with redirect_stdout(StringIO()) as printed:
        namespace: dict[str, Any] = {}
        for code in pasted("python"):
            exec(code, namespace)
    assert printed.getvalue().count("No model was called") >= 2
    assert printed.getvalue().rstrip().endswith("completed")
    for code in pasted("js"):
        process = npm_packages.start(npm_packages.add(code))
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output.endswith("completed\n")
