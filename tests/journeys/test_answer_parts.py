"""Parts of an answer beside its text: images, which their owner sees, and reasoning, which goes back to its model."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.client import Client, assert_complete, emulate, text_of
from tests.system import System

MODELS = {"bedrock": "bedrock/anthropic.claude-x", "anthropic": "anthropic/claude-x", "gemini": "gemini/gemini-x"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("parts")
    (directory / "images").mkdir()
    settings = {
        "MILLRACE_PROVIDERS": ",".join(MODELS),
        "MILLRACE_ALLOWED_MODELS": ",".join(MODELS.values()),
        **dict.fromkeys(("MILLRACE_ANTHROPIC_API_KEY", "MILLRACE_GEMINI_API_KEY"), "a-key"),
        "MILLRACE_IMAGE_DIR": str(directory / "images"),
        **dict.fromkeys(("MILLRACE_TITLES", "MILLRACE_SUGGESTIONS", "MILLRACE_LEARNING"), "off"),
    }
    with System(directory, "--provider", ",".join(MODELS), **settings) as running:
        yield running


@pytest.mark.parametrize("provider", ["bedrock", "gemini"])
def test_owner_sees_the_image_of_an_answer_until_the_conversation_is_deleted(system: System, provider: str) -> None:
    with Client(system.url) as client, Client(system.url) as stranger:
        generation = client.ask(emulate(text="Here.", image=True), model=MODELS[provider])
        received = client.whole(generation)
        assert_complete(received)
        (image,) = (each.event for each in received if each.event["type"] == "image")
        url = f"/api/generations/{generation}/images/{image['id']}"
        found = client.http.get(url)
        assert (found.status_code, found.headers["content-type"]) == (200, "image/png")
        assert (len(found.content), found.content[:4]) == (image["bytes"], b"\x89PNG")
        reference = {name: image[name] for name in ("id", "format", "bytes")}
        snapshot = client.snapshot(generation)
        assert snapshot["images"] == [reference]
        conversation = snapshot["conversation_id"]
        (_, answer) = client.http.get(f"/api/conversations/{conversation}/messages").json()["messages"]
        assert answer["images"] == [reference]
        assert stranger.http.get(url).status_code == 404
        assert client.http.delete(f"/api/conversations/{conversation}").status_code == 204
        assert client.http.get(url).status_code == 404


@pytest.mark.parametrize("provider", MODELS)
def test_reasoning_goes_back_to_its_model_in_the_next_turn_and_to_no_other(system: System, provider: str) -> None:
    others = [name for name in MODELS if name != provider]
    redacted = {} if provider == "gemini" else {"redacted": True}
    with Client(system.url) as client:
        first = client.ask(emulate(text="Noon.", reasoning="The sun is high.", **redacted), model=MODELS[provider])
        received = client.whole(first)
        assert {each.event["type"] for each in received} == {"status", "reasoning", "chunk", "complete", "done"}
        assert "ignature" not in str(received), "readers have no use for it"
        conversation = client.snapshot(first)["conversation_id"]
        for asked in (provider, *others, provider):
            before = len(calls_of(system))
            turn = client.ask(emulate(text="Again."), model=MODELS[asked], conversation_id=conversation)
            assert text_of(client.whole(turn)) == "Again."
            (call,) = calls_of(system)[before:]
            answers = str([each for each in call["messages"] if each["role"] != "user"])
            assert ("ignature" in answers) == (asked == provider), asked
            assert ("edacted" in answers) == (asked == provider and bool(redacted)), asked


def calls_of(system: System) -> list[dict[str, Any]]:
    """Return the calls that the local endpoint has accepted: one whose reasoning is altered is rejected."""
    return httpx.get(f"{system.emulator_url}/_calls", timeout=30, trust_env=False, verify=False).json()
