"""Sentinels, replicas and certificates around a Redis, with each thing that can be wrong with them."""

from pathlib import Path

from deploy.doctor.redis_server import Server, check_server
from deploy.doctor.redis_shape import check_encryption
from millrace.worker.settings.redis_url import read_redis_url
from tests.sentinels import SentinelService


def found(url: str) -> dict[str, str]:
    """Return the status of each finding by what was found."""
    return {each.found: each.status for each in check_server(Server(url, "MILLRACE_REDIS_URL", ("logs", "queue")))}


def test_sentinels_replicas_and_the_bound_of_a_loss_are_checked(tmp_path: Path) -> None:
    with SentinelService(tmp_path) as service:
        whole = found(service.url)
        assert whole["3 sentinels name the same master"] == "ok"
        assert whole["the master has 1 replica"] == "ok"
        unbounded = "min-replicas-to-write is 0: a master that is cut off goes on taking writes"
        assert whole[unbounded] == "warning"
        with service.master.client() as master:
            master.config_set("min-replicas-to-write", 1)
        service.kill_sentinel(2)
        later = found(service.url)
        assert later["1 of 3 sentinels do not answer"] == "warning"
        assert unbounded not in later
        one = service.url.replace(service.url.partition("@")[2].partition("/")[0], service.places[0])
        assert found(one)["the URL names 1 sentinels"] == "warning"


def test_a_certificate_that_nobody_verifies_is_a_warning() -> None:
    def status_of(url: str) -> list[str]:
        return [each.status for each in check_encryption("redis", read_redis_url(url))]

    assert status_of("redis://h") == []
    assert status_of("rediss://h") == ["ok"]
    assert status_of("rediss://h?ssl_check_hostname=no") == ["warning"]
    assert status_of("rediss+sentinel://h/s?ssl_cert_reqs=none") == ["warning"]
