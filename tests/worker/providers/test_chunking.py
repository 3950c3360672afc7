"""A whole text is cut into chunks that give it back when they are joined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.providers.chunking import CHUNK_CHARS, cut_into_chunks


@given(st.text(max_size=400))
def test_the_chunks_are_the_text_and_none_is_empty_or_long(text: str) -> None:
    chunks = list(cut_into_chunks(text))
    assert "".join(chunks) == text
    assert all(0 < len(chunk) <= 2 * CHUNK_CHARS for chunk in chunks)


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("", []),
        ("A mill grinds grain into flour.", ["A mill grinds grain ", "into flour."]),
        ("x" * 50, ["x" * 20, "x" * 20, "x" * 10]),
    ],
)
def test_a_text_is_cut_after_white_space(text: str, chunks: list[str]) -> None:
    assert list(cut_into_chunks(text)) == chunks
