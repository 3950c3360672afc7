"""Reading the settings from the environment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings, load, variables


@pytest.mark.parametrize("name", ["MILLRACE_NO_SUCH", "MILLRACE_", "MILLRACE_redis_url", "MILLRACE_REDIS_URL_"])
def test_unknown_variable_is_rejected_with_its_name(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name}: unknown setting"):
        load({name: ""})


def test_every_wrong_variable_is_named_in_one_error() -> None:
    with pytest.raises(SettingError) as raised:
        load({"MILLRACE_FLUSH_MS": "x", "MILLRACE_X": "1", "MILLRACE_LEASE_SECONDS": "0", "MILLRACE_MAX_EVENTS": "99"})
    message = str(raised.value)
    assert all(name in message for name in ("MILLRACE_FLUSH_MS", "MILLRACE_X", "MILLRACE_LEASE_SECONDS"))
    assert "MILLRACE_MAX_EVENTS" not in message


def test_variables_without_our_prefix_are_ignored() -> None:
    assert load({"PATH": "/bin", "millrace_x": "1", "MY_MILLRACE_X": "1"}) == Settings()


def test_unset_and_empty_variables_mean_the_defaults() -> None:
    assert load({}) == load(dict.fromkeys(variables(), "")) == Settings()


@given(st.dictionaries(st.sampled_from(sorted(variables())), st.text(max_size=8)))
def test_any_text_is_accepted_or_named_in_the_error(environment: dict[str, str]) -> None:
    message = ""
    try:
        load(environment)
    except SettingError as error:
        message = str(error)
    assert not message or any(name in message for name in environment)


def test_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_FLUSH_MS", "7")
    assert load().worker.flush_ms == 7
