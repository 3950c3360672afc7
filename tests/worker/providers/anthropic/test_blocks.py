"""Citations, counts and details, each in the form of Millrace's events."""

from typing import Any

import pytest

from millrace.worker.contract.events import Citation
from millrace.worker.providers.anthropic.blocks import to_citation, to_detail


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"type": "char_location", "document_title": "d", "document_index": 1, "start_char_index": 2},
            Citation("d", None, [{"text": "c"}], {"documentChar": {"documentIndex": 1, "start": 2}}),
        ),
        (
            {
                "type": "page_location",
                "document_title": None,
                "file_id": "f",
                "document_index": 0,
                "start_page_number": 1,
                "end_page_number": 2,
            },
            Citation(None, "f", [{"text": "c"}], {"documentPage": {"documentIndex": 0, "start": 1, "end": 2}}),
        ),
        (
            {"type": "content_block_location", "document_index": 0, "start_block_index": 1, "end_block_index": 2},
            Citation(None, None, [{"text": "c"}], {"documentChunk": {"documentIndex": 0, "start": 1, "end": 2}}),
        ),
        (
            {
                "type": "search_result_location",
                "title": "t",
                "source": "s",
                "search_result_index": 3,
                "start_block_index": 1,
                "end_block_index": 2,
            },
            Citation(
                "t", "s", [{"text": "c"}], {"searchResultLocation": {"searchResultIndex": 3, "start": 1, "end": 2}}
            ),
        ),
        (
            {
                "type": "web_search_result_location",
                "title": "t",
                "url": "https://a.example:80/b",
                "encrypted_index": "x",
            },
            Citation(
                *("t", "https://a.example:80/b", [{"text": "c"}]),
                {"web": {"url": "https://a.example:80/b", "domain": "a.example"}},
            ),
        ),
        ({"type": "web_search_result_location", "url": "https://["}, None),
        ({"type": "a_new_location"}, Citation(None, None, [{"text": "c"}], None)),
    ],
)
def test_a_citation_has_the_names_of_bedrocks(given: dict[str, Any], expected: Citation | None) -> None:
    found = to_citation({"cited_text": "c", **given})
    assert found == (
        expected or Citation(None, "https://[", [{"text": "c"}], {"web": {"url": "https://[", "domain": ""}})
    )


def test_details_are_short_texts_numbers_and_objects_of_these() -> None:
    for value, shown in (
        ("a" * 999, "a" * 300),
        (5, 5),
        (0.5, 0.5),
        ({"a": 1, "b": None, "c": [1], "d": {"e": 1}}, {"a": 1}),
        ({"a": []}, None),
        (None, None),
        (True, None),
        ([1], None),
        (float("inf"), None),
        (float("nan"), None),
        (2**60, None),
        ("", None),
    ):
        assert to_detail(value) == shown, value
