"""The receipt of a turn: each paid call with its purpose and cost, and their sum."""

import json
from pathlib import Path

import pytest

from tests.client import Client, emulate, outcomes_of
from tests.system import System

MODEL, SMALL_MODEL = "amazon.nova-pro-v1:0", "amazon.nova-lite-v1:0"
PRICES = {MODEL: {"input": 3.0, "output": 15.0}, SMALL_MODEL: {"input": 0.5, "output": 2.0}}


def test_a_turn_with_title_and_suggestions_lists_each_paid_call_and_the_sum_of_their_costs(tmp_path: Path) -> None:
    settings = {
        "MILLRACE_MODEL_ID": MODEL,
        "MILLRACE_SMALL_MODEL_ID": SMALL_MODEL,
        "MILLRACE_MODELS": json.dumps({name: {"price": price} for name, price in PRICES.items()}),
        "MILLRACE_TITLES": "on",
        "MILLRACE_SUGGESTIONS": "on",
        "MILLRACE_LEARNING": "off",
    }
    with System(tmp_path, **settings) as system, Client(system.url) as client:
        received = client.whole(client.ask(emulate(text="Noon by the mill.")))
        (outcome,) = outcomes_of(received)
        assert [each["purpose"] for each in outcome["usage_by"]] == ["answer"]
        shown = client.snapshot(received[0].event["generation"])["outcome"]
    paid = {each["purpose"]: each for each in shown["usage_by"]}
    assert sorted(paid) == ["answer", "suggestions", "title"]
    assert {purpose: each["model"] for purpose, each in paid.items()} == {
        "answer": MODEL,
        "suggestions": SMALL_MODEL,
        "title": SMALL_MODEL,
    }
    for each in paid.values():
        price = PRICES[each["model"]]
        tokens_in = each["input_tokens"] + each["cache_read_tokens"] + each["cache_write_tokens"]
        cost = (tokens_in * price["input"] + each["output_tokens"] * price["output"]) / 1e6
        assert each["cost"] == pytest.approx(cost), each
        assert cost > 0, each
    total = shown["usage_total"]
    for field in ("input_tokens", "output_tokens", "cost"):
        assert total[field] == pytest.approx(sum(each[field] for each in paid.values())), field
    assert shown["usage"]["cost"] == paid["answer"]["cost"] < total["cost"]
    done = received[-1].event
    assert (done["usage_by"], done["usage_total"]) == (shown["usage_by"], total)
