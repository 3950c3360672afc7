"""Cursors between pages."""

import pytest

from millrace.worker.store.pagination import decode_cursor, encode_cursor


def test_a_cursor_comes_apart_as_it_was_put_together() -> None:
    assert decode_cursor(encode_cursor(1_800_000_000_000, "0123456789abcdef" * 2)) == (
        1_800_000_000_000,
        "0123456789abcdef" * 2,
    )
    assert decode_cursor(encode_cursor(7, 0)) == (7, "0")


@pytest.mark.parametrize("cursor", ["", "-", "1-", "-1", "1-G", "1_0-2", "٣-1", "9" * 16 + "-1", "1-" + "a" * 33])
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        decode_cursor(cursor)
