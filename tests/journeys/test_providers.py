"""Providers other than Bedrock, as `deploy/run.py --provider` starts them: who answers, and who in its place."""

from pathlib import Path

import httpx

from tests.client import Client, emulate, outcomes_of, text_of
from tests.system import System

ORDER = ("openai", "anthropic")


def test_each_provider_answers_where_those_before_it_reject_their_credentials(tmp_path: Path) -> None:
    settings = {"MILLRACE_TITLES": "off", "MILLRACE_SUGGESTIONS": "off", "OPENAI_API_KEY": "a-secret-of-the-user"}
    with System(tmp_path, "--provider", ",".join(ORDER), **settings) as system, Client(system.url) as client:
        for failing, provider in enumerate(ORDER):
            fault = {"fault": "authentication", "times": failing} if failing else {}
            received = client.whole(client.ask(emulate(text="Noon by the mill.", reasoning="Hm.", **fault)))
            (outcome,) = outcomes_of(received)
            assert (outcome["type"], outcome["provider"], outcome["model"]) == ("complete", provider, "emulated-model")
            assert (text_of(received), outcome["mode"]) == ("Noon by the mill.", "live")
            assert any(each.event["type"] == "reasoning" for each in received)
        listed = httpx.get(f"{system.emulator_url}/_calls", trust_env=False, verify=False).json()
        streamed = [call["operation"] for call in listed if call["is_streamed"]]
        assert streamed == ["ChatCompletions", "ChatCompletions", "Messages"]
        for role, pids in system.pids().items():
            for pid in pids:
                assert b"a-secret-of-the-user" not in Path(f"/proc/{pid}/environ").read_bytes(), role
