import os
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from deploy.emulator.picture import make_png
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import keys_of
from millrace.worker.errors import QueueUnavailable, RedisUnavailable
from tests.webapp.harness import DEAD_PORT, WebHarness, json_of
from tests.webapp.stored_turns import begin, messages_of, turn

Build = Callable[..., WebHarness]


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    with gevent.Timeout(seconds):
        while not condition():
            gevent.sleep(0.02)


def make_due(site: WebHarness, generation: str) -> None:
    """Make the generation due for the next sweep."""
    site.redis.zadd(keys_of(generation).leases, {generation: 1})


def test_generation_queued_for_long_is_enqueued_again_once(site: WebHarness) -> None:
    generation = site.ask()
    site.redis.delete("millrace")
    make_due(site, generation)
    site.services.housekeeping.sweep()
    assert site.queued_tasks() == 1
    site.services.housekeeping.sweep()
    assert site.queued_tasks() == 1


def test_generation_unclaimed_in_time_ends_without_a_worker(build: Build) -> None:
    site = build(queue_seconds=1.0)
    generation = site.ask()
    site.services.housekeeping.start()
    try:
        wait_until(lambda: json_of(site.user.get(f"/api/generations/{generation}"))["outcome"])
    finally:
        site.services.housekeeping.stop()
    assert json_of(site.user.get(f"/api/generations/{generation}"))["outcome"]["code"] == "queue_timeout"


def test_generation_with_a_reader_is_marked_watched_if_leaving_cancels_it(site: WebHarness) -> None:
    streams = [site.post({"message": "a", "stream": True, "on_disconnect": how}) for how in ("cancel", "continue")]
    cancelled, continued = (each.headers["Millrace-Generation-Id"] for each in streams)
    site.services.housekeeping.mark_watched()
    assert not site.redis.exists(keys_of(cancelled).watched)  # there is no reader yet
    readers = [each.iter_encoded() for each in streams]
    for reader in readers:
        next(reader)
        next(reader)
    site.services.housekeeping.mark_watched()
    assert site.redis.pttl(keys_of(cancelled).watched) > 10_000  # type: ignore[operator]
    assert not site.redis.exists(keys_of(continued).watched)
    for stream in streams:
        stream.close()


def test_housekeeping_continues_after_redis_was_unavailable_and_after_its_own_errors(
    site: WebHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    errors = [RedisUnavailable("gone"), QueueUnavailable("gone"), RuntimeError("a fault")]

    def sweep(_node: str) -> None:
        calls.append(1)
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]

    monkeypatch.setattr("millrace.webapp.housekeeping.SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(site.services.housekeeping, "sweep", sweep)
    site.services.housekeeping.start()
    started = list(site.services.housekeeping._tasks)
    site.services.housekeeping.start()
    assert site.services.housekeeping._tasks == started
    try:
        wait_until(lambda: len(calls) > 4)
    finally:
        site.services.housekeeping.stop()
    assert caplog.text.count("Traceback") == 1
    assert "kind=RedisUnavailable error=gone" in caplog.text


def test_sweep_with_an_unavailable_queue_raises_and_keeps_the_generation(build: Build) -> None:
    site = build(broker_url=f"redis://127.0.0.1:{DEAD_PORT}/0")
    good = build()
    generation = good.ask()
    make_due(site, generation)
    with pytest.raises(QueueUnavailable):
        site.services.housekeeping.sweep()
    assert site.generations() == [generation]


def test_old_images_are_deleted_unless_their_answer_is_stored(build: Build, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    site = build(image_dir=str(folder))
    files, day = site.services.images, 24 * 3600
    conversation = begin(site)["conversation_id"]
    turn(site, conversation, "a", "b")
    kept = messages_of(site, conversation)["messages"][-1]["generation"]
    dropped, fresh = new_id(), new_id()
    for generation in (kept, dropped, fresh):
        files.save(generation, make_png("a"), "png")
    for generation in (kept, dropped):
        os.utime(folder / generation, (0, time.time() - 2 * day))
    site.services.housekeeping.delete_images()
    assert {each.name for each in folder.iterdir()} == {kept, fresh}


def test_without_a_directory_no_images_are_looked_for(site: WebHarness) -> None:
    site.services.housekeeping.delete_images()
