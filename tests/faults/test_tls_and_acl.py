"""The whole system by TLS alone, with client certificates, as users with the least rights."""

import os
import re
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.redis_acl import line_of, rights_of
from millrace.worker.contract.redis.connection import find_unavailable
from tests.client import wait_for
from tests.deploy.test_redis_acl import LUA, commands_in
from tests.faults.conftest import ask
from tests.faults.follower import check
from tests.faults.rig import Rig
from tests.tls_redis import TlsRedis, program

pytestmark = pytest.mark.skipif(program() is None and "CI" not in os.environ, reason="redis-server is not installed")


class TlsRig(Rig):
    """A system whose tiers are users of their own of a Redis that takes TLS alone."""

    def __init__(self, directory: Path, server: TlsRedis) -> None:
        super().__init__(directory, learning="1", titles="1", suggestions="1", rate_limit="1000/minute")
        self._server = server

    def environment(self, tier: str) -> dict[str, str]:
        return super().environment(tier) | {"MILLRACE_REDIS_URL": self._server.url(f"{tier}:of-{tier}")}


EXPLAINED = {
    "client|setname": "the option client_name",
    "select": "another database than 0",
    "info get del": "the doctor, /readyz and the breaker",
    "incrby rename": "a window of the limits with more than one request, and its end",
    "scan": "the deletion of an owner's data",
    "xrange xrevrange": "the text of a worker that has died, and the end of a feed",
    "expire lpop lrem lrange llen rpush exists hdel hexists hset hsetnx pexpire": "lanes and the canary",
    "brpop subscribe unsubscribe multi exec": "connections that last, and pipelines of feeds",
    "~mr:check:* ~millrace.check.*": "the doctor",
    "~mr:breaker:*": "the breaker, which has not opened",
    "~_kombu.binding* &/*.celeryev/*": "Celery's bindings and events",
}
"""Rights that one run of the test need not use, each with its reason; all others are used by it or by a script."""

WORDS = 14  # of a command, within which all its keys stand
EXACT = {"publish": 3, "script": 3}  # the words of commands whose last argument MONITOR shows as several


class CommandsByUser:
    """The commands that each user of a server has sent or had its scripts run, as MONITOR shows them."""

    def __init__(self, server: TlsRedis) -> None:
        self._admin, self._watching = server.client(), server.client(seconds=None)
        self._users: dict[str, str] = {}
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        self._samples: defaultdict[str, dict[tuple[str, ...], list[str]]] = defaultdict(dict)
        threading.Thread(target=self._watch, daemon=True).start()

    def note_users(self) -> None:
        """Note the user of each open connection."""
        self._users |= {each["addr"]: each["user"] for each in self._admin.client_list()}

    def of(self, user: str) -> set[str]:
        """Return the commands of a user's connections that `note_users` has found."""
        return {command for address, seen in self._seen.items() if self._users.get(address) == user for command in seen}

    def samples_of(self, user: str) -> list[list[str]]:
        """Return a command of each form, by its name and the forms of its first arguments, that a user has run."""
        found: dict[tuple[str, ...], list[str]] = {}
        for address, samples in self._samples.items():
            if self._users.get(address) == user:
                found |= samples
        return [*found.values()]

    def _watch(self) -> None:
        address = ""
        with suppress(redis.RedisError, OSError), self._watching.monitor() as monitor:
            for each in monitor.listen():
                if each["client_type"] != "lua":  # the commands of a script follow its call
                    address = f"{each['client_address']}:{each['client_port']}"
                given = each["command"].split(" ")
                words = [given[0].lower(), *given[1 : EXACT.get(given[0].lower(), WORDS)]]
                self._seen[address] |= {words[0], "|".join(words[:2]).lower()}
                form = (words[0], *(re.sub("[0-9a-f]{6,}", "#", word) for word in words[1:5] if ":" in word))
                self._samples[address][form] = words


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    users = [f"{line_of(role, rights_of(role))} >of-{role}" for role in ("web", "worker")]
    with TlsRedis(tmp_path_factory.mktemp("redis"), *users) as server:
        yield server


def test_a_system_runs_whole_by_tls_with_the_least_rights(server: TlsRedis, tmp_path: Path) -> None:
    commands = CommandsByUser(server)
    with TlsRig(tmp_path, server) as rig, server.client() as admin:
        client = rig.client()
        complete, stopped, taken_over = ask(rig, 2, name="a"), ask(rig, 9, name="b"), ask(rig, 6, name="c")
        wait_for(lambda: len(stopped.follower.text) > 20, 30, "some text")
        assert stopped.client.http.post(f"/api/generations/{stopped.generation}/cancel").status_code in (200, 202)
        assert check(stopped.follower, stopped.client)["type"] == "cancelled"
        commands.note_users()
        rig.start_worker()
        rig.workers[0].signal(signal.SIGKILL)
        for each in (complete, taken_over):
            assert check(each.follower, each.client)["type"] == "complete"
        for path in ("/readyz", "/metrics", "/metrics/cluster", "/api/conversations", "/api/memories", "/api/profile"):
            assert client.http.get(path).status_code == 200, path
        (conversation,) = taken_over.client.http.get("/api/conversations").json()["conversations"]
        assert taken_over.client.http.delete(f"/api/conversations/{conversation['id']}").status_code in (200, 204)
        commands.note_users()
        denied = [each for each in admin.acl_log() if each["username"] in ("web", "worker")]
        assert denied == []
        explained = {word for words in EXPLAINED for word in words.split()}
        for role in ("web", "worker"):
            unused = rights_of(role).commands - commands.of(role) - commands_in(LUA) - explained
            assert not unused, f"nothing shows that {role} needs {sorted(unused)}"
            samples = commands.samples_of(role)
            rights = line_of("fewer", rights_of(role)).split()
            assert not is_denied(admin, rights, samples)
            superfluous = [
                right
                for right in rights
                if right[0] in "+~&"
                and right.removeprefix("+") not in explained | commands_in(LUA)
                and not is_denied(admin, [each for each in rights if each != right], samples)
            ]
            assert not superfluous, f"nothing shows that {role} needs {superfluous}"


def is_denied(admin: Any, rights: list[str], samples: list[list[str]]) -> bool:
    """Return whether a user with these rights, the words of an ACL file's line, may not run all of the commands."""
    admin.execute_command("ACL", "SETUSER", rights[1], "reset", *rights[2:])
    pipeline = admin.pipeline(transaction=False)
    for words in samples:
        pipeline.execute_command("ACL", "DRYRUN", rights[1], *words)
    return any(b"permissions" in reply for reply in pipeline.execute(raise_on_error=False) if isinstance(reply, bytes))


def test_a_server_is_refused_whose_certificate_is_not_for_its_host_or_not_of_a_known_authority(tmp_path: Path) -> None:
    with TlsRedis(tmp_path, address="127.0.0.9") as other:
        other_host = find_unavailable({"A": other.url()}, 3.0)
        assert "certificate verify failed: IP address mismatch" in other_host
        trusting = find_unavailable({"A": other.url(ssl_check_hostname="no")}, 3.0)
        assert trusting == ""
        assert "certificate verify failed" in find_unavailable({"A": other.url(ssl_ca_certs="")}, 3.0)
        anonymous = find_unavailable({"A": other.url(ssl_certfile="", ssl_keyfile="")}, 3.0)
        assert anonymous.startswith(f"A: Redis at 127.0.0.1:{other.port} does not serve: ")
        assert find_unavailable({"A": other.url().replace("rediss://", "redis://").partition("?")[0]}, 3.0)
