"""A client whose URL names sentinels uses the master, and notices within seconds that it is another one."""

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from millrace.worker.contract.redis.connection import Redis, connect, find_unavailable, place_of
from millrace.worker.contract.redis.connection_pool import MASTER_CHECK_SECONDS, is_current
from tests.sentinels import PASSWORD, SENTINEL_PASSWORD, SERVICE, SentinelService
from tests.worker.harness import wait_until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelService]:
    with SentinelService(tmp_path_factory.mktemp("sentinels")) as service:
        yield service


def port_of(client: Redis) -> int:
    return int(client.info("server")["tcp_port"])


def test_wrong_service_or_password_is_named_without_showing_a_password(service: SentinelService) -> None:
    assert find_unavailable({"A": service.url}, 3.0) == ""
    for part, wrong, found in (
        (SERVICE, "other", "its sentinels know no master other that works"),
        (SENTINEL_PASSWORD, "bad", "its sentinels reject the user name or password"),
        (f":{PASSWORD}@", ":bad@", "its user name or password is missing or wrong"),
    ):
        sentence = find_unavailable({"A": service.url.replace(part, wrong)}, 3.0)
        assert found in sentence
        assert "of-the" not in sentence
    assert place_of(service.url).startswith(f"{SERVICE} of the sentinels 127.0.0.1:")
    away = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/s"
    assert "its sentinels do not answer" in find_unavailable({"A": away}, 3.0)


def test_connections_leave_a_former_master_that_still_serves(service: SentinelService) -> None:
    old = service.master
    with connect(service.url) as client, old.client() as former:
        pool: Any = client.connection_pool
        own = pool.connection_class(**pool.connection_kwargs)
        own.connect()
        assert port_of(client) == old.port
        assert is_current(pool, own)
        service.fail_over()
        service.kill_sentinel(0)  # the others answer
        began = time.monotonic()
        wait_until(lambda: port_of(client) == service.master.port, "the new master", 3 * MASTER_CHECK_SECONDS)
        wait_until(lambda: not is_current(pool, own), "the check", 3 * MASTER_CHECK_SECONDS)
        (role, *_) = cast("list[bytes]", former.execute_command("ROLE"))
        assert role == b"master", f"the sentinels were faster: {time.monotonic() - began}"
        own.disconnect()
