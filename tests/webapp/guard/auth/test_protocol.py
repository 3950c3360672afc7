"""A valid owner is safe in headers, logs and keys."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.guard.auth.protocol import is_owner


@given(st.text(max_size=300))
def test_valid_owner_fits_on_one_log_line(name: str) -> None:
    if is_owner(name):
        assert name.strip() == name
        assert 1 <= len(name) <= 255
        assert len(name.splitlines()) == 1
        name.encode()


def test_other_types_and_surrounding_spaces_are_no_valid_owner() -> None:
    for name in (None, 1, b"ada", "", " ada", "ada ", "a\nb", "a\x00b", "a" * 256):
        assert not is_owner(name), name
    for name in ("ada", "Ada Lovelace", "ada@example.com", "a" * 255):
        assert is_owner(name), name
