"""The names of the keys in Redis."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import (
    LEASES,
    UNSTORED,
    breaker_keys,
    channel_of,
    conversation_key,
    idempotency_key,
    keys_of,
)


def test_keys_of_a_generation_share_one_hash_tag() -> None:
    generation = new_id()
    keys = keys_of(generation)
    tags = {key[key.index("{") : key.index("}") + 1] for key in keys}
    assert len(set(keys)) == 6
    assert len(tags) == 1
    assert keys.leases in LEASES
    assert keys.unstored in UNSTORED
    assert channel_of(generation) == keys.channel.encode()


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_idempotency_keys_of_different_owners_are_distinct(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (idempotency_key(*one) == idempotency_key(*other)) == (one == other)


def test_owner_and_key_are_separated_in_idempotency_keys() -> None:
    assert idempotency_key("ab", "c") != idempotency_key("a", "bc")


def test_idempotency_key_reveals_neither_owner_nor_key_and_accepts_lone_surrogates() -> None:
    name = idempotency_key("somebody", "secret\ud83d")
    assert "somebody" not in name
    assert "secret" not in name


def test_conversations_have_distinct_keys() -> None:
    assert conversation_key("a" * 32) != conversation_key("b" * 32)


@given(st.text())
def test_keys_of_a_circuit_breaker_are_ascii_and_share_one_hash_tag(model: str) -> None:
    keys = breaker_keys(f"bedrock:{model}")
    tags = {key[key.index("{") : key.index("}") + 1] for key in keys}
    assert (len(set(keys)), len(tags)) == (2, 1)
    assert all(key.isascii() for key in keys)
