"""A thousand streams at once."""

import json
import resource

from tests.emulator.asking import scripted
from tests.emulator.crowd import chunks, cpu_seconds, events, stream_together
from tests.emulator_process import EmulatorProcess

STREAMS = 1000
TOKENS = 40
RATE = 20  # deltas a second: 20,000 for all


def test_a_thousand_streams_arrive_whole_and_in_time(emulator: EmulatorProcess) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    texts = [(f"{number:03d} " * TOKENS) for number in range(STREAMS)]
    before = cpu_seconds(emulator)
    scripts = [scripted(text=text, rate=RATE, first_delay=1) for text in texts]
    responses = stream_together(emulator.url, scripts, seconds=60)
    spent = cpu_seconds(emulator) - before
    for text, response in zip(texts, responses, strict=True):
        frames = chunks(response)
        payloads = [json.loads(payload) for _, payload in events(frames)]
        assert len(payloads) == len(frames) == TOKENS + 4  # a chunk for every message
        assert "".join(payload["delta"]["text"] for payload in payloads if "delta" in payload) == text
    calls = emulator.calls()
    assert [call["ended"] for call in calls] == ["finished"] * STREAMS
    late = sorted(call["sent_at"][1] - call["sent_at"][0] - (TOKENS - 1) / RATE for call in calls)
    print(f"{spent / STREAMS / TOKENS * 1e6:.0f} µs of processor a delta; the last delta {late[-1] * 1e3:.0f} ms late")
    assert late[STREAMS // 2] < 1
