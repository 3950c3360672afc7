"""The forms of a prompt, and what a process remembers of refusals."""

from dataclasses import replace
from typing import Any

import pytest

from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.forms import Form, FormMemory, answer_tool_of, forms_of
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import ModelTraits

QUESTION = (PromptMessage("user", "Why?"),)
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"title": {"type": "string"}}}
ABLE = ModelTraits(1000, caching=True, schema=True)
PLAIN = Prompt("m", QUESTION, 9, ("Be kind.",), traits=ABLE)
NAMING = Prompt("m", QUESTION, 9, tool=Tool("name_it", "Names it.", SCHEMA), traits=ABLE)
HELD = Prompt("m", QUESTION, 9, ("Be kind.",), schema=SCHEMA, traits=ABLE)


def test_the_forms_of_a_prompt_depend_on_the_traits_of_its_model() -> None:
    assert forms_of(PLAIN, is_caching=True) == [Form(is_cached=True), Form()]
    assert forms_of(PLAIN, is_caching=False) == [Form()]
    assert forms_of(Prompt("m", QUESTION, 9, traits=ABLE), is_caching=True) == [Form()]
    assert forms_of(NAMING, is_caching=True) == [Form("tool"), Form("format"), Form("instruction")]
    held = [Form("format", True), Form("tool", True), Form("instruction", True), Form("instruction")]
    assert forms_of(HELD, is_caching=True) == held
    open_schema = Prompt("m", QUESTION, 9, schema={"type": "object"}, traits=ABLE)
    assert forms_of(open_schema, is_caching=False) == [Form("tool"), Form("instruction")]
    unable = Prompt("m", QUESTION, 9, schema={"type": "array"}, traits=ModelTraits(1000, tools=False))
    assert forms_of(unable, is_caching=True) == [Form("instruction")]


def test_only_a_schema_without_a_tool_of_its_own_is_answered_by_the_tool_for_answers() -> None:
    found = [answer_tool_of(*each) for each in ((HELD, Form("tool")), (NAMING, Form("tool")), (HELD, Form("format")))]
    assert found == ["answer", "", ""]


class Model:
    """Refuses some forms, and records how it was asked."""

    def __init__(self, *refused: str, code: Any = "provider_rejected") -> None:
        self.asked: list[Form] = []
        self._refused = refused
        self._code = code

    def __call__(self, form: Form) -> str:
        self.asked.append(form)
        if form.structure in self._refused or (form.is_cached and "cache" in self._refused):
            raise ProviderError(self._code, retryable=False)
        return form.structure


def is_rejected(error: ProviderError) -> bool:
    return error.code == "provider_rejected"


@pytest.mark.parametrize(("prompt", "refused"), [(PLAIN, "cache"), (NAMING, "tool")])
def test_a_refused_form_is_not_tried_again_for_the_model(prompt: Prompt, refused: str) -> None:
    memory, model = FormMemory(is_caching=True), Model(refused)
    preferred, next_one = forms_of(prompt, is_caching=True)[:2]
    for _ in range(2):
        assert memory.ask(prompt, model, is_rejected)[1] == next_one
    assert model.asked == [preferred, next_one, next_one]
    other = Model()
    memory.ask(replace(prompt, model="other"), other, is_rejected)
    assert other.asked == [preferred]


def test_a_refused_schema_is_the_users_and_does_not_count_against_the_model() -> None:
    memory, model = FormMemory(is_caching=False), Model("format")
    for _ in range(2):
        assert memory.ask(HELD, model, is_rejected) == ("tool", Form("tool"))
    assert model.asked == [Form("format"), Form("tool")] * 2
    picky = Model("tool")
    memory.ask(NAMING, picky, is_rejected)
    fallback = Model("format", "tool")
    memory.ask(HELD, fallback, is_rejected)
    assert fallback.asked == [Form("format"), Form("instruction")]


def test_a_request_that_is_rejected_in_every_form_counts_against_none() -> None:
    memory, model = FormMemory(is_caching=True), Model("tool", "format", "instruction")
    for _ in range(2):
        with pytest.raises(ProviderError):
            memory.ask(NAMING, model, is_rejected)
    assert model.asked == forms_of(NAMING, is_caching=True) * 2


def test_any_other_error_ends_the_call_at_once() -> None:
    model = Model("cache", code="provider_throttled")
    with pytest.raises(ProviderError):
        FormMemory(is_caching=True).ask(PLAIN, model, is_rejected)
    assert len(model.asked) == 1
