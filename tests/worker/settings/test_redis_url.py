"""A URL of Redis is taken apart once, and a bad part of it is refused by name."""

import ssl
from pathlib import Path

import pytest

from millrace.worker.errors import SettingError
from millrace.worker.settings.redis_url import (
    OPTIONS,
    RedisAddress,
    TlsOptions,
    read_redis_url,
    redis_url,
    stream_redis_url,
)
from millrace.worker.settings.schema import load


def test_each_form_is_read() -> None:
    for url, address, place in (
        ("redis://:@", RedisAddress("server", (("localhost", 6379),)), "localhost:6379"),
        ("redis://h/", RedisAddress("server", (("h", 6379),)), "h:6379"),
        ("redis://h:1/2", RedisAddress("server", (("h", 1),), db=2), "h:1"),
        (
            "redis://:p%40:s@[::1]:7/0?client_name=a&protocol=2",
            RedisAddress("server", (("::1", 7),), password="p@:s", client_name="a", protocol=2),
            "[::1]:7",
        ),
        ("redis://u:p@x@h:1", RedisAddress("server", (("h", 1),), username="u", password="p@x"), "h:1"),
        ("rediss://h", RedisAddress("server", (("h", 6379),), tls=TlsOptions()), "h:6379"),
        ("unix:///run/a%20b.sock?db=3", RedisAddress("socket", path="/run/a b.sock", db=3), "/run/a b.sock"),
        ("unix://:p@/s", RedisAddress("socket", path="/s", password="p"), "/s"),
        (
            "redis+sentinel://u:p@a:1,[::2],c/main/4?sentinel_username=s&sentinel_password=t",
            RedisAddress(
                *("sentinel", (("a", 1), ("::2", 26379), ("c", 26379)), "", "main", 4, "u", "p", "s"),
                sentinel_password="t",
            ),
            "main of the sentinels a:1,[::2]:26379,c:26379",
        ),
        (
            "rediss+sentinel://a/main",
            RedisAddress("sentinel", (("a", 26379),), service="main", tls=TlsOptions()),
            "main of the sentinels a:26379",
        ),
        (
            "redis+cluster://:p@a:1,b",
            RedisAddress("cluster", (("a", 1), ("b", 6379)), password="p"),
            "the cluster of a:1,b:6379",
        ),
    ):
        assert read_redis_url(url) == address, url
        assert address.place == place
        assert stream_redis_url(url) == url


def test_tls_options_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.pem"
    file.touch()
    options = f"ssl_ca_certs={file}&ssl_certfile={file}&ssl_keyfile={file}&ssl_password=p&ssl_cert_reqs=optional"
    address = read_redis_url(f"rediss://h?{options}&ssl_check_hostname=no&ssl_min_version=1.3")
    path = str(file)
    assert address.tls == TlsOptions(path, path, path, "p", "optional", False, ssl.TLSVersion.TLSv1_3)


def test_a_bad_part_is_refused_by_name_and_shows_no_password() -> None:
    for url, sentence in (
        ("http://h", "takes a URL that begins with redis:// or rediss://"),
        ("redis:", "takes a URL that begins with"),
        ("redis://:hidden@h:0", "takes HOST:PORT, with ports from 1 to 65535"),
        ("redis://:hidden@h:70000", "takes HOST:PORT"),
        ("redis://:hidden@h:x", "takes HOST:PORT"),
        ("redis://a:1,b:2", "takes HOST:PORT"),
        ("redis://:hidden@h/x", "takes /DB, the number of a database"),
        ("redis://:hidden@h?x=1", "has an unknown option x; this kind of URL takes db, username"),
        ("redis://:hidden@h?socket_timeout=1", "has an unknown option socket_timeout"),
        ("redis://h?ssl_ca_certs=/a", "has an unknown option ssl_ca_certs"),
        ("rediss://h?ssl_ca_certs=/absent", "option ssl_ca_certs takes the path of a file that exists"),
        ("rediss://h?ssl_cert_reqs=maybe", "option ssl_cert_reqs takes one of: required, optional, none"),
        ("rediss://h?ssl_min_version=1.1", "option ssl_min_version takes one of: 1.2, 1.3"),
        (f"rediss://h?ssl_keyfile={__file__}", "ssl_keyfile takes an ssl_certfile beside it"),
        ("redis://h?protocol=4", "option protocol takes one of: 2, 3"),
        ("redis+sentinel://:hidden@a:1,/main", "takes HOST:PORT, joined by commas"),
        ("redis+sentinel://:hidden@a:1/", "takes /SERVICE/DB, the name of the master at its sentinels"),
        ("redis+sentinel://:hidden@a:1/main/x", "takes /SERVICE/DB"),
        ("redis+cluster://:hidden@a:1,b:2", "takes one server or Sentinel, because Celery's queue"),
        ("redis+cluster://:hidden@a:1,b:2/1", "takes no database after its hosts"),
        ("redis+cluster://a?db=1", "has an unknown option db"),
        ("redis://h?sentinel_password=hidden", "has an unknown option sentinel_password"),
    ):
        with pytest.raises(ValueError, match=sentence[:10]) as caught:
            redis_url(url)
        assert str(caught.value).startswith(sentence), url
        assert "hidden" not in str(caught.value)


def test_the_start_names_the_variable() -> None:
    with pytest.raises(SettingError, match="MILLRACE_BROKER_URL: has an unknown option x"):
        load({"MILLRACE_BROKER_URL": "redis://h?x=1"})


def test_each_option_has_a_field() -> None:
    fields = RedisAddress.__dataclass_fields__.keys() | TlsOptions.__dataclass_fields__.keys()
    assert set(OPTIONS) <= fields
