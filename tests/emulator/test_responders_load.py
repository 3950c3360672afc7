"""Test of a thousand streams at once."""

import json
import resource

from tests.emulator.harness import cpu_seconds, decode_messages, emulate, split_chunks, stream_all
from tests.emulator_process import EmulatorProcess

STREAMS = 1000
TOKENS = 40
RATE = 20  # deltas a second: 20,000 for all streams


def test_a_thousand_streams_arrive_complete_and_on_time(emulator: EmulatorProcess) -> None:
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    texts = [(f"{number:03d} " * TOKENS) for number in range(STREAMS)]
    before = cpu_seconds(emulator)
    scripts = [emulate(text=text, rate=RATE, first_delay=1) for text in texts]
    responses = stream_all(emulator.url, scripts, seconds=120)
    spent = cpu_seconds(emulator) - before
    for text, response in zip(texts, responses, strict=True):
        chunks = split_chunks(response)
        payloads = [json.loads(payload) for _, payload in decode_messages(chunks)]
        assert len(payloads) == len(chunks) == TOKENS + 4  # one chunk per message
        assert "".join(payload["delta"]["text"] for payload in payloads if "delta" in payload) == text
    calls = emulator.calls()
    assert [call["ended"] for call in calls] == ["finished"] * STREAMS
    late = sorted(call["sent_at"][1] - call["sent_at"][0] - (TOKENS - 1) / RATE for call in calls)
    print(f"{spent / STREAMS / TOKENS * 1e6:.0f} µs of CPU per delta; the last delta is {late[-1] * 1e3:.0f} ms late")
    assert late[STREAMS // 2] < 10
