"""Ids and cursors."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.ids import (
    BUCKETS,
    Cursor,
    bucket_of,
    cursor_of,
    is_generation,
    is_id,
    new_generation,
    new_id,
    node_in,
    parse_cursor,
    split_members,
)

numbers = st.integers(0, 10**10 - 1)
cursors = st.builds(Cursor, numbers, numbers)


def test_new_ids_are_valid_and_distinct() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_id(each) and len(each) == 32 for each in ids)


@given(st.text())
def test_id_is_exactly_32_lowercase_ascii_hex_digits(text: str) -> None:
    assert is_id(text) == (len(text) == 32 and set(text) <= set("0123456789abcdef"))


def test_id_with_surrounding_text_is_invalid() -> None:
    good = "0" * 32
    assert is_id(good)
    wrong = (good + "\n", " " + good, good.replace("0", "\N{FULLWIDTH DIGIT ZERO}"), "A" * 32, good + "0", good[1:])
    assert not [each for each in wrong if is_id(each)]


@given(st.text("0123456789abcdefghijklmnopqrstuvwxyz", max_size=2))
def test_a_generations_id_carries_its_node_and_is_as_long_as_any_id(node: str) -> None:
    generation = new_generation(node)
    assert (len(generation), node_in(generation), is_generation(generation)) == (32, node, True)
    assert is_id(generation) == (node == "")
    assert split_members([generation.encode()], bucket_of(generation)) == ([generation], [])


def test_other_texts_are_no_generations_id() -> None:
    digits = "0" * 32
    wrong = (
        digits + "0",
        digits[:31],
        digits[:31] + "n",
        digits[:30] + "nA",
        digits[:29] + "n-a",
        digits[:28] + "nabc",
    )
    assert not [each for each in (*wrong, digits[:30] + "na\n", digits[:30] + "n٣") if is_generation(each)]


def test_ids_are_spread_over_all_buckets() -> None:
    assert {bucket_of(f"{number:02x}" + "0" * 30) for number in range(256)} == set(range(BUCKETS))


@given(cursors)
def test_cursor_round_trips_through_text(cursor: Cursor) -> None:
    assert parse_cursor(str(cursor)) == cursor == cursor_of(str(cursor).encode())


@given(st.text(alphabet="0123456789-+ \n٣", max_size=24))
def test_cursor_is_two_runs_of_at_most_ten_ascii_digits(text: str) -> None:
    left, dash, right = text.partition("-")
    good = dash == "-" and all(1 <= len(each) <= 10 and each.isascii() and each.isdigit() for each in (left, right))
    assert (parse_cursor(text) is not None) == good


def test_malformed_cursor_is_parsed_as_none() -> None:
    wrong = ("", "1", "1-", "-1", "1-1\n", " 1-1", "1-1-1", "1--1", "+1-1", "12345678901-1", "1-12345678901", "٣-1")
    assert not [each for each in (*wrong, "1-1" * 4000) if parse_cursor(each) is not None]


@given(cursors, cursors)
def test_cursors_are_ordered_by_epoch_before_seq(left: Cursor, right: Cursor) -> None:
    assert (left < right) == ((left.epoch, left.seq) < (right.epoch, right.seq))
