"""Providers other than Bedrock, as `deploy/run.py --provider` starts them: who answers, and who in its place."""

from pathlib import Path

import httpx

from tests.client import Client, emulate, outcomes_of, text_of
from tests.system import System

ORDER = ("rlm", "openai", "anthropic", "gemini", "bedrock")
OPERATIONS = ("Rlm", "ChatCompletions", "Messages", "StreamGenerateContent", "ConverseStream")


def test_each_provider_answers_where_those_before_it_reject_their_credentials(tmp_path: Path) -> None:
    settings = {"MILLRACE_TITLES": "off", "MILLRACE_SUGGESTIONS": "off", "MILLRACE_LEARNING": "0"}
    flags = ("--rlm", "--provider", ",".join(ORDER[1:]))
    with System(tmp_path, *flags, **settings, OPENAI_API_KEY="a-secret-of-the-user") as system:
        with Client(system.url) as client:
            for failing, provider in enumerate(ORDER):
                fault = {"fault": "authentication", "times": failing} if failing else {}
                received = client.whole(client.ask(emulate(text="Noon by the mill.", **fault)))
                (outcome,) = outcomes_of(received)
                assert (outcome["type"], outcome["provider"]) == ("complete", provider)
                assert text_of(received) == "Noon by the mill."
        listed = httpx.get(f"{system.emulator_url}/_calls", timeout=30, trust_env=False, verify=False).json()
        expected = [operation for failing in range(len(ORDER)) for operation in OPERATIONS[: failing + 1]]
        assert [call["operation"] for call in listed] == expected
        for role, pids in system.pids().items():
            for pid in pids:
                assert b"a-secret-of-the-user" not in Path(f"/proc/{pid}/environ").read_bytes(), role
