"""Access to metrics, by address and token; `tests/webapp/guard/test_access.py` asks a whole web app."""

from millrace.worker.observability.metrics_access import may_read_metrics

NEAR = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "127.0.0.1:9100"}
TOKEN = "a-token-of-these-tests"


def test_without_a_token_only_direct_clients_of_the_same_machine_may() -> None:
    for inside in ({}, {"REMOTE_ADDR": "::1", "HTTP_HOST": "[::1]:9100"}, {"REMOTE_ADDR": "::ffff:127.0.0.1"}):
        assert may_read_metrics(NEAR | inside, ""), inside
    for outside in (
        {"REMOTE_ADDR": "10.0.0.7"},
        {"REMOTE_ADDR": "2001:db8::1"},
        {"REMOTE_ADDR": ""},  # a Unix socket, which a proxy uses
        {"HTTP_HOST": "10.0.0.7:9100"},
        {"HTTP_HOST": "rebound.example"},
        {"HTTP_HOST": ""},
        {"HTTP_X_FORWARDED_FOR": "127.0.0.1"},
        {"HTTP_VIA": "1.1 proxy"},
    ):
        assert not may_read_metrics(NEAR | outside, ""), outside
    assert not may_read_metrics({}, "")


def test_with_a_token_its_holder_may_from_anywhere_and_no_one_else() -> None:
    right = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
    assert may_read_metrics(right | {"REMOTE_ADDR": "10.0.0.7", "HTTP_X_FORWARDED_FOR": "10.0.0.8"}, TOKEN)
    for wrong in ("", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"):
        assert not may_read_metrics(NEAR | {"HTTP_AUTHORIZATION": wrong}, TOKEN), wrong
