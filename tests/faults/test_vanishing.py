"""Row 29: a reader that vanishes without FIN, in a network namespace whose link is taken down."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client import emulate, wait_for
from tests.faults.rig import Rig

OURS, THEIRS = (
    "198.51.100.1",
    "198.51.100.2",
)  # addresses that are set aside for documentation: nobody's network has them
FREED_SECONDS = 45


@contextmanager
def other_host() -> Generator[str]:
    """Make a host at the other end of a cable; yield the name by which commands run there and the cable is pulled."""
    name = f"mr{os.getpid()}"
    ip = shutil.which("ip")
    made = ip and subprocess.run([ip, "netns", "add", name], check=False, capture_output=True).returncode == 0
    if not made:
        assert "CI" not in os.environ, "a second host needs iproute2's ip and root's rights"
        pytest.skip("a second host needs iproute2's ip and root's rights")
    try:
        for command in (
            f"link add {name}a type veth peer name {name}b netns {name}",
            f"addr add {OURS}/30 dev {name}a",
            f"link set {name}a up",
            f"-n {name} addr add {THEIRS}/30 dev {name}b",
            f"-n {name} link set {name}b up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], check=False)  # both ends; the namespace may linger a while
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_row_29_a_reader_that_vanishes_without_fin_frees_its_slot(tmp_path: Path) -> None:
    with other_host() as host, Rig(tmp_path, web_host=OURS, max_readers=1, heartbeat_seconds=5) as rig:
        client = rig.client()
        asked = client.ask(emulate(first_delay=100, tokens=1))
        url = f"{rig.urls[0]}/api/generations/{asked}/events"
        cookie = "; ".join(f"{name}={value}" for name, value in client.http.cookies.items())
        received = tmp_path / "received"
        with received.open("wb") as sink:
            curl = ["ip", "netns", "exec", host, "curl", "-sN", "-H", f"Cookie: {cookie}", url]
            reader = subprocess.Popen(curl, stdout=sink)
        try:
            wait_for(lambda: b"queued" in received.read_bytes(), 30, "the reader's first event")
            assert client.http.get(url).status_code == 503, "the reader has the only place"

            subprocess.run(["ip", "-n", host, "link", "set", f"{host}b", "down"], check=True)
            pulled, heard = time.monotonic(), received.stat().st_size
            assert reader.poll() is None, "it is still there, and can't say that it is not"

            def is_free() -> bool:
                with client.http.stream("GET", url) as answer:
                    return answer.status_code == 200

            wait_for(is_free, FREED_SECONDS, "the place to be free again")
            assert received.stat().st_size == heard, "the cable was pulled"
            assert time.monotonic() - pulled > 1, "it was not the end of a connection that was seen"
        finally:
            reader.send_signal(signal.SIGKILL)
            reader.wait()
        client.cancel(asked)
