"""Pages and cursors; pure."""

import pytest

from millrace.worker.store.pagination import Page, decode_cursor, encode_cursor, make_page


def test_decoded_cursor_equals_the_encoded_keys() -> None:
    conversation = "0123456789abcdef" * 2
    assert decode_cursor(encode_cursor(1_800_000_000_000, conversation)) == (1_800_000_000_000, conversation)
    assert decode_cursor(encode_cursor(7, 0)) == (7, "0")


@pytest.mark.parametrize("cursor", ["", "-", "1-", "-1", "1-G", "1_0-2", "٣-1", "9" * 16 + "-1", "1-" + "a" * 33])
def test_malformed_cursor_is_rejected(cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        decode_cursor(cursor)


@pytest.mark.parametrize(
    ("rows", "page"),
    [([], Page([], None)), ([5, 4], Page(["5", "4"], None)), ([5, 4, 3], Page(["5", "4"], "4-0"))],
)
def test_page_has_a_next_cursor_only_if_there_is_a_row_beyond_it(rows: list[int], page: Page[str]) -> None:
    assert make_page(rows, 2, lambda row: (row, 0), str) == page
