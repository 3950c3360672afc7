"""One client has one address, however it is written."""

from collections.abc import Callable

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.guard import client
from millrace.webapp.guard.client import canonical_address, client_address
from tests.webapp.harness import WebHarness

SAME = {
    "192.0.2.7": ["192.0.2.7", "192.0.2.7:40009", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]:1", "64:ff9b::c000:207"],
    "2001:db8::/64": ["2001:db8::1", "[2001:db8::1]", "[2001:db8::2]:443", "2001:DB8:0::ffff", " 2001:db8::1 "],
    "fe80::/64": ["fe80::1%eth0", "[fe80::2%25eth0]:80"],
    "none": ["", "/run/web.sock", "unknown", "192.0.2:1", "[", "]:1", "1:2:3", "localhost:80"],
}


def test_each_client_has_one_address_however_it_is_written() -> None:
    for address, written in SAME.items():
        for text in written:
            assert canonical_address(text) == address, text


@given(st.text(max_size=60) | st.ip_addresses().map(str))
def test_any_text_has_an_address_that_stays_as_it_is(text: str) -> None:
    address = canonical_address(text)
    assert canonical_address(address.partition("/")[0]) == address


def test_there_is_no_address_outside_a_request() -> None:
    assert client_address() == "none"
    with Flask("host").test_request_context(environ_overrides={"REMOTE_ADDR": "::ffff:192.0.2.7"}):
        assert client_address() == "192.0.2.7"


def test_the_address_is_computed_once_per_request(
    build: Callable[..., WebHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    monkeypatch.setattr(client, "canonical_address", lambda given: computed.append(given) or canonical_address(given))
    site = build(rate_limit="60/minute", address_rate_limit="600/minute", new_owner_rate_limit="60/minute")
    for count in (1, 2):
        assert site.post({"message": "a"}).status_code == 202
        assert len(computed) == count


@pytest.mark.parametrize("forwarded", ["203.0.113.{}:40009", "::ffff:203.0.113.{}", "[2001:db8:0:{}::1]:443"])
def test_users_behind_a_proxy_have_counters_of_their_own(build: Callable[..., WebHarness], forwarded: str) -> None:
    site = build(address_rate_limit="1/hour", trusted_proxies=1)
    for user in (1, 2):
        headers = {"X-Forwarded-For": forwarded.format(user)}
        answers = [site.stranger().post("/api/generations", json={"message": "a"}, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 429]
