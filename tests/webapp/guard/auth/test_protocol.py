"""The token of a request."""

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from millrace.webapp.guard.auth.protocol import bearer_token


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("BEARER a b", "a b"),
        ("Bearer", ""),
        ("Basic abc", None),
        ("Bearerabc", None),
        ("", None),
    ],
)
def test_bearer_token_is_read_in_any_case_of_its_scheme(header: str, token: str | None) -> None:
    assert bearer_token(EnvironBuilder(headers={"Authorization": header}).get_request(Request)) == token  # type: ignore[arg-type]


def test_request_without_the_header_has_no_token() -> None:
    assert bearer_token(EnvironBuilder().get_request(Request)) is None  # type: ignore[arg-type]
