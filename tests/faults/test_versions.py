"""Row 53: web and workers of neighbouring versions run side by side; the newer one writes what the older never saw."""

import hashlib
import json
import signal
from collections.abc import Iterator

import pytest

from tests.client import emulate, wait_for
from tests.faults.conftest import ask
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.journeys.dialects import DIALECTS

KEY = "mr_" + "k" * 40
TEXT = "It turns, and it turns. "
PROFILE = {"assistant_name": "Ida", "text": "I am Ada, a miller."}
"""With it every answer has a `context`."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A web of this version with a worker of the next one."""
    keys = json.dumps([{"sha256": hashlib.sha256(KEY.encode()).hexdigest(), "owner": "ada"}])
    directory = tmp_path_factory.mktemp("versions")
    settings = {"api_keys": keys, "takeover": "continue", "lease_seconds": 3}
    with Rig(directory, worker_modules=("tests.faults.newer_worker",), **settings) as running:  # type: ignore[arg-type]
        yield running


def test_row_53_every_protocol_reads_the_whole_answer_of_a_newer_worker(rig: Rig) -> None:
    for dialect in DIALECTS:
        client = dialect(rig.urls[0], KEY)
        client.http.put("/api/profile", json=PROFILE).raise_for_status()
        message = emulate(text=TEXT, tokens=6, rate=30) + dialect.name
        reading = client.begin(message).read()
        assert (reading.text, reading.ending) == (TEXT, "complete"), dialect.name
        again = client.follow(reading.generation).read()
        assert (again.text, again.ending) == (TEXT, "complete"), dialect.name
        reading.close()
        client.http.close()
    user = rig.client()
    user.http.put("/api/profile", json=PROFILE).raise_for_status()
    whole = user.post({"message": emulate(text=TEXT, tokens=6, rate=30), "stream": False})
    assert (whole.status_code, whole.json()["message"]) == (200, TEXT)
    followed = user.whole(user.ask(emulate(text=TEXT, tokens=6, rate=30)))
    kinds = [each.event["type"] for each in followed]
    assert "wave" in kinds, "clients get what a newer worker has written, and skip what they do not know"
    assert all("newer" in each.event for each in followed[1:] if each.event["type"] != "wave")


def test_row_53_a_worker_of_the_older_version_takes_over_from_a_newer_one_and_goes_on_from_its_text(rig: Rig) -> None:
    client = rig.client()
    client.http.put("/api/profile", json=PROFILE).raise_for_status()
    asked = ask(rig, 6, client=client)
    wait_for(lambda: len(asked.follower.text) > 100, 30, "some text")
    polled = asked.client.snapshot(asked.generation)["content"]
    assert asked.text.startswith(polled)
    rig._worker_modules = ()
    rig.workers[0].signal(signal.SIGKILL)
    rig.start_worker()
    outcome = check(asked.follower, asked.client)
    assert outcome["type"] == "complete"
    (snapshot,) = asked.follower.of_type("snapshot")
    assert snapshot["reason"] == "takeover"
    assert polled
    assert snapshot["content"].startswith(polled.rstrip()), "the older worker has read the newer one's log"
