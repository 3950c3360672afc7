"""The settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse_many

from millrace.worker.errors import SettingError
from millrace.worker.settings.groups import DEFAULT_MODEL
from millrace.worker.settings.schema import PREFIX, Settings, declared, load, variables

BAD = {
    "url": ["no address", "redis:", "redis://", "http", "redis://[", "redis://host:99999", "redis://host:x", "ftp://h"],
    "whole": ["x", "-1", "1.5", "1e3", "999999999999999999", "٣", "1 2"],
    "seconds": ["x", "-1", "1e3", "nan", "inf", "99999999999", "٣", "1,5"],
    "choice": ["sometimes", "Continue ", "LAX"],
    "flag": ["maybe", "2", "ja"],
    "text": [" ", "\t\n"],
    "words": [],
    "matching": ["a b", "a\nb", "\u00e9", "a:", "(a)"],
    "rates": [
        "x",
        "60",
        "60/",
        "/minute",
        "0/minute",
        "60/week",
        "60/minute;",
        "-1/hour",
        "1.5/hour",
        "60 minute",
        "1/0 hour",
    ],
    "origins": [
        *("*", "null", "example.com", "//a.example", "ftp://a.example", "https://a.example/", "https://a.example/x"),
        *("https://a.example:443", "http://a.example:80", "https://a.example:x", "https://A.example", "https://[::1"),
        *("https://u@a.example", "https://a.example?x", "https://*.example", "https://a.example, *", "https://a b"),
    ],
    "import_paths": ["module", "module:", ":name", "a b:c", "a:b:c", "a.b:c.d"],
    "json_object": ["{", "[]", "5", "/no/such/file", "no such file", "\x00"],
}


def kind_of_parser(name: str) -> str:
    each = next(each for _, each in declared() if name in each.metadata["names"])
    return each.metadata["parse"].__qualname__.split(".")[0]


CASES = [(name, bad) for name in variables() for bad in BAD[kind_of_parser(name)]]


def test_every_bad_value_stops_the_start_with_the_name_of_its_variable() -> None:
    for name, bad in CASES:
        with pytest.raises(SettingError) as raised:
            load({name: bad})
        assert str(raised.value).startswith(f"{name}: "), (name, bad, str(raised.value))


@pytest.mark.parametrize("name", ["MILLRACE_NO_SUCH", "MILLRACE_", "MILLRACE_redis_url", "MILLRACE_REDIS_URL_"])
def test_an_unknown_variable_stops_the_start_with_its_name(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name}: there is no such setting"):
        load({name: ""})


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SettingError) as raised:
        load({"MILLRACE_FLUSH_MS": "x", "MILLRACE_X": "1", "MILLRACE_LEASE_SECONDS": "0", "MILLRACE_MAX_EVENTS": "99"})
    said = str(raised.value)
    assert all(name in said for name in ("MILLRACE_FLUSH_MS", "MILLRACE_X", "MILLRACE_LEASE_SECONDS"))
    assert "MILLRACE_MAX_EVENTS" not in said


def test_other_peoples_variables_are_let_be() -> None:
    assert load({"PATH": "/bin", "millrace_x": "1", "MY_MILLRACE_X": "1"}) == Settings()


def test_nothing_set_and_everything_empty_are_the_defaults() -> None:
    assert load({}) == load(dict.fromkeys(variables(), "")) == Settings()


def test_every_default_would_be_taken_as_a_value() -> None:
    for group, each in declared():
        if each.default not in ("", ()) and not isinstance(each.default, bool):
            given_value = f"{each.default:g}" if isinstance(each.default, float) else str(each.default)
            loaded = getattr(load({each.metadata["names"][0]: given_value}), group)
            assert getattr(loaded, each.name) == each.default


def test_the_model_may_be_given_by_bedrocks_own_variable_but_ours_wins() -> None:
    assert load({}).models.model_id == DEFAULT_MODEL
    assert load({"BEDROCK_MODEL_ID": "theirs"}).models.model_id == "theirs"
    assert load({"BEDROCK_MODEL_ID": "theirs", "MILLRACE_MODEL_ID": "ours"}).models.model_id == "ours"
    assert load({"BEDROCK_MODEL_ID": "theirs", "MILLRACE_MODEL_ID": ""}).models.model_id == "theirs"


def test_the_region_is_awss_then_awss_default_then_us_east_1() -> None:
    assert load({}).bedrock.region == "us-east-1"
    assert load({"AWS_DEFAULT_REGION": "eu-west-1"}).bedrock.region == "eu-west-1"
    assert load({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-central-1"}).bedrock.region == "eu-central-1"


def test_the_models_are_the_configured_one_and_those_allowed() -> None:
    loaded = load({"MILLRACE_MODEL_ID": "a", "MILLRACE_ALLOWED_MODELS": " b, a ,,c "})
    assert loaded.models.names == ("a", "b", "c")


@pytest.mark.parametrize(
    "given_value",
    ["60/minute", "10 per 2 hours", "1/second;100/day", "5/15 minutes | 9 per hour", "7 PER DAY", "3/1hour"],
)
def test_rates_are_those_that_the_limiter_takes(given_value: str) -> None:
    assert parse_many(load({"MILLRACE_RATE_LIMIT": given_value}).limits.rate)
    assert load({"MILLRACE_RATE_LIMIT": " OFF "}).limits.rate == ""


def test_origins_are_taken_as_browsers_send_them() -> None:
    given_value = "https://a.example, http://localhost:8080,http://[::1]:5173"
    loaded = load({"MILLRACE_ALLOWED_ORIGINS": given_value})
    assert loaded.http.allowed_origins == ("https://a.example", "http://localhost:8080", "http://[::1]:5173")


def test_the_broker_is_the_redis_unless_it_is_given() -> None:
    assert load({"MILLRACE_REDIS_URL": "redis://r/1"}).redis.broker == "redis://r/1"
    assert (
        load({"MILLRACE_REDIS_URL": "redis://r/1", "MILLRACE_BROKER_URL": "rediss://b/2"}).redis.broker
        == "rediss://b/2"
    )


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:6380/3", "unix:///run/redis.sock", "redis://[::1]:6379/0"]
)
def test_every_address_that_the_client_takes_is_taken(url: str) -> None:
    assert load({"MILLRACE_REDIS_URL": url}).redis.url == url


@given(st.integers(-10, 10**7))
def test_a_number_is_taken_within_its_bounds_and_nowhere_else(number: int) -> None:
    environment = {"MILLRACE_MAX_EVENTS": str(number)}
    if 16 <= number <= 10_000_000:
        assert load(environment).generation.max_events == number
    else:
        with pytest.raises(SettingError, match="MILLRACE_MAX_EVENTS: takes a whole number from 16 to 10000000"):
            load(environment)


@given(st.dictionaries(st.sampled_from(sorted(variables())), st.text(max_size=8)))
def test_any_text_at_all_is_taken_or_named(environment: dict[str, str]) -> None:
    said = ""
    try:
        load(environment)
    except SettingError as error:
        said = str(error)
    assert not said or any(name in said for name in environment)


def test_every_variable_has_its_line_and_ours_have_the_prefix() -> None:
    for name, doc in variables().items():
        assert doc
        assert name.startswith((PREFIX, "AWS_", "BEDROCK_"))


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_FLUSH_MS", "7")
    assert load().worker.flush_ms == 7
