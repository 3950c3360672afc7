"""The names and URLs of stream nodes, and what is refused at start."""

import pytest

from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load
from millrace.worker.settings.stream_nodes import parse_stream_nodes

A, B = "redis://one:6379/0", "redis+sentinel://s1:26379,s2:26379/main"


def test_names_and_urls_are_read_in_order_and_urls_may_hold_commas() -> None:
    assert parse_stream_nodes(f"a={A}") == (("a", A),)
    assert parse_stream_nodes(f" a={A}, b2={B}") == (("a", A), ("b2", B))
    assert parse_stream_nodes(f"b2={B},a={A}?db=1") == (("b2", B), ("a", f"{A}?db=1"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (A, "NAME=URL"),
        (f"abc={A}", "one or two characters"),
        (f"A={A}", "one or two characters"),
        ("a=", "NAME=URL"),
        ("a=http://one", "redis://"),
        (f"a={A},a=redis://two", "each name once"),
        (f"a={A},b={A}", "each URL once"),
    ],
)
def test_other_values_are_refused_with_what_the_setting_takes(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_stream_nodes(value)


def test_contradictions_stop_the_start() -> None:
    nodes = {"MILLRACE_REDIS_URL": "redis://control", "MILLRACE_STREAM_REDIS_URLS": f"a={A},b={B}"}
    assert load({**nodes, "MILLRACE_STREAM_DRAINING": "a, b"}).redis.draining == ("a", "b")
    with pytest.raises(SettingError, match="MILLRACE_STREAM_DRAINING: c is not in MILLRACE_STREAM_REDIS_URLS"):
        load({**nodes, "MILLRACE_STREAM_DRAINING": "a,c"})
    with pytest.raises(SettingError, match="MILLRACE_STREAM_REDIS_URLS: names MILLRACE_REDIS_URL"):
        load({**nodes, "MILLRACE_REDIS_URL": A})


def test_a_cluster_is_one_node() -> None:
    cluster = "redis+cluster://h1:1,h2:2"
    assert parse_stream_nodes(f"a=redis://h:1,k={cluster}") == (("a", "redis://h:1"), ("k", cluster))
