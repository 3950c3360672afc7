"""A probe finds out whether a node answers, and each of the process's clients knows it."""

from pathlib import Path

import pytest

from millrace.worker.contract.redis.node_probe import make_probes
from millrace.worker.contract.redis.streams import connect_streams
from millrace.worker.settings.schema import Settings
from tests.valkey import ValkeyProcess


def test_a_node_is_down_while_it_does_not_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_valkey = ValkeyProcess(tmp_path)
    own_valkey.start()
    settings = Settings.of(redis_url="redis://127.0.0.1:1/0", stream_redis_urls=(("b", own_valkey.url),))
    streams = connect_streams(settings)
    others = connect_streams(settings, retries=0, statuses=streams.statuses)
    (probe,) = make_probes(settings, streams)
    node = others.nodes[1]
    try:
        probe.probe()
        assert node.is_up
        own_valkey.stop()
        probe.probe()
        since = node.status.down_since
        probe.probe()
        assert (node.is_up, node.status.down_since) == (False, since)
        own_valkey.start()
        probe.probe()
        assert node.is_up
        assert [caplog.text.count(event) for event in ("stream_node_down", "stream_node_up")] == [1, 1]
    finally:
        probe.close()
        own_valkey.stop()
        streams.close()
        others.close()


def test_the_control_redis_has_no_probe() -> None:
    settings = Settings.of()
    assert make_probes(settings, connect_streams(settings)) == []
