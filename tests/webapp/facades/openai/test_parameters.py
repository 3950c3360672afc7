"""Parameters of OpenAI's APIs: kept, refused or ignored, never dropped in silence where they change the answer."""

from typing import Any

import pytest

from millrace.webapp.facades.openai.parameters import check_model, flag_of, keep_supported, prompt_tokens, text_of
from millrace.webapp.problems import Problem
from millrace.worker.contract.events import Usage
from millrace.worker.settings.schema import Settings

REFUSED: dict[str, tuple[Any, ...]] = {"n": (1,), "penalty": (0,), "flag": (False,), "tools": ([],)}


def kept(body: dict[str, Any]) -> dict[str, Any]:
    return keep_supported(body, frozenset(("model",)), REFUSED, {"n": "One only."})


def problem_of(call: Any, *given: Any) -> Problem:
    with pytest.raises(Problem) as raised:
        call(*given)
    return raised.value


def test_supported_parameters_are_kept_and_null_counts_as_absent() -> None:
    assert kept({"model": "m"}) == {"model": "m"}
    assert kept({"model": None, "n": None, "tools": None, "user": None}) == {}


def test_refused_parameter_is_accepted_with_its_neutral_value_only() -> None:
    assert kept({"n": 1, "penalty": 0.0, "flag": False, "tools": []}) == {}
    for name, value in {"n": 2, "penalty": 0.1, "flag": True, "tools": [{}]}.items():
        problem = problem_of(kept, {name: value})
        assert (problem.status, problem.code, problem.members["param"]) == (400, "unsupported_parameter", name)
        assert problem.detail == (
            "One only." if name == "n" else f"This server does not support '{name}'. Leave it out."
        )
    for name, value in {"n": True, "flag": 0, "penalty": False}.items():
        assert problem_of(kept, {name: value}).members["param"] == name


def test_ignored_parameters_are_dropped_and_unknown_ones_are_named() -> None:
    assert kept({"user": "u", "prompt_cache_key": "k"}) == {}
    problem = problem_of(kept, {"temprature": 1})
    assert (problem.code, problem.members["param"]) == ("unknown_parameter", "temprature")
    assert len(problem_of(kept, {"x" * 5000: 1}).detail) < 300


def test_text_is_a_string_or_parts_of_text() -> None:
    assert text_of("a", "content", ("text",)) == "a"
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert text_of(parts, "content", ("text",)) == "a\n\nb"
    assert text_of(parts, "content", ("text",), "") == "ab"
    assert text_of([], "content", ("text",)) == ""


@pytest.mark.parametrize(
    ("content", "param"),
    [
        (None, "m[0].content"),
        (1, "m[0].content"),
        ([{"type": "image_url", "image_url": {"url": "x"}}], "m[0].content[0].type"),
        ([{"type": "text", "text": "a"}, {"type": "input_audio"}], "m[0].content[1].type"),
        ([{"type": "text"}], "m[0].content[0].text"),
        ([{"type": "\ud800"}], "m[0].content[0].type"),
        ([{"type": ["text"]}], "m[0].content[0].type"),
        (["a"], "m[0].content[0]"),
    ],
)
def test_content_that_is_no_text_is_rejected_by_its_place(content: Any, param: str) -> None:
    problem = problem_of(text_of, content, "m[0].content", ("text",))
    assert (problem.status, problem.members["param"]) == (400, param)


def test_flag_of_a_query_is_true_or_false_and_nothing_else() -> None:
    assert [flag_of({"stream": text}, "stream") for text in ("true", "True", "1")] == [True] * 3
    assert [flag_of({"stream": text}, "stream") for text in ("", "false", "0")] == [False] * 3
    assert not flag_of({}, "stream")
    assert problem_of(flag_of, {"stream": "maybe"}, "stream").members["param"] == "stream"


def test_unknown_model_is_the_404_that_names_those_that_exist() -> None:
    settings = Settings.of(model_id="one", allowed_models=("two",))
    for model in (None, "", "one", "two"):
        check_model(model, settings)
    problem = problem_of(check_model, "three", settings)
    assert (problem.status, problem.code, problem.members["param"]) == (404, "model_not_found", "model")
    assert "one, two" in problem.detail
    assert problem_of(check_model, 3, settings).code == "invalid_type"


def test_prompt_tokens_include_cached_ones() -> None:
    assert prompt_tokens(Usage(input_tokens=1, cache_read_tokens=10, cache_write_tokens=100)) == 111
