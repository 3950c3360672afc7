"""Refused features are left out for their model for a while, and forms are asked in their order."""

import pytest

from millrace.worker.errors import ProviderError
from millrace.worker.providers import refused_features
from millrace.worker.providers.refused_features import LIFE_SECONDS, RefusedFeatures, ask_in_turn

REFUSED = ProviderError("provider_rejected", retryable=False)
AWAY = ProviderError("provider_unavailable", retryable=True)


def is_refusal(error: Exception) -> bool:
    return isinstance(error, ProviderError) and error.code == "provider_rejected"


def test_a_refused_feature_is_left_out_for_its_model_until_its_time_is_over() -> None:
    now = [0.0]
    refused: RefusedFeatures[str] = RefusedFeatures(lambda: now[0])
    refused.add("a", ["tool", "cache"])
    assert [refused.has("a", each) for each in ("tool", "cache", "schema")] == [True, True, False]
    assert not refused.has("b", "tool")
    now[0] = LIFE_SECONDS - 1
    refused.add("a", ["cache"])
    now[0] = LIFE_SECONDS
    assert [refused.has("a", each) for each in ("tool", "cache")] == [False, True]


def test_the_memory_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_features, "MAX_REFUSALS", 3)
    refused: RefusedFeatures[int] = RefusedFeatures()
    refused.add("m", range(3))
    refused.add("m", [0])  # is the newest now
    refused.add("m", [3])
    assert [each for each in range(4) if refused.has("m", each)] == [0, 2, 3]


def test_forms_are_asked_in_order_until_one_is_accepted() -> None:
    asked: list[str] = []

    def call(form: str) -> str:
        asked.append(form)
        if form in ("tool", "format"):
            raise REFUSED
        return form.upper()

    forms = ["tool", "format", "words", "none"]
    assert ask_in_turn(forms, call, is_refusal) == ("WORDS", ["tool", "format"], "words")
    assert asked == ["tool", "format", "words"]


def test_a_failure_that_is_no_refusal_is_raised_at_once() -> None:
    errors = {"tool": REFUSED, "format": AWAY}

    def call(form: str) -> str:
        raise errors.pop(form)

    with pytest.raises(ProviderError) as raised:
        ask_in_turn(["tool", "format", "words"], call, is_refusal)
    assert raised.value is AWAY


def test_the_first_refusal_is_raised_if_every_form_is_refused() -> None:
    refusals = {name: ProviderError("provider_rejected", retryable=False) for name in ("tool", "words")}

    def call(form: str) -> str:
        raise refusals[form]

    with pytest.raises(ProviderError) as raised:
        ask_in_turn(["tool", "words"], call, is_refusal)
    assert raised.value is refusals["tool"]
