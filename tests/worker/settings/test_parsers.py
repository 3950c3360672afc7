"""The parsers of setting values, through the variables that use them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse_many

from millrace.worker.errors import SettingError
from millrace.worker.settings.parsers import host_name, is_direct, is_owner, secret_keys
from millrace.worker.settings.schema import declared, load, variables

BAD = {
    "url": ["no address", "redis:", "redis://", "http", "redis://[", "redis://host:99999", "redis://host:x", "ftp://h"],
    "redis_url": [
        "redis:",
        "redis://",
        "redis://[",
        "redis://host:99999",
        "redis://host:x",
        "http://h",
        "redis://h?x=1",
    ],
    "whole": ["x", "-1", "1.5", "1e3", "999999999999999999", "٣", "1 2"],
    "seconds": ["x", "-1", "1e3", "nan", "inf", "99999999999", "٣", "1,5"],
    "choice": ["sometimes", "Continue ", "LAX"],
    "flag": ["maybe", "2", "ja"],
    "text": [" ", "\t\n"],
    "key": ["a b", "a\nb", "\u00e9", " "],
    "words": [],
    "matching": ["a b", "a\nb", "\u00e9", "a:", "(a)"],
    "optional_field_path": ["a b", ".a", "a.", "a..b", "a,b", "\u00e9"],
    "field_paths": [",", "a b", "a,b c", ".a"],
    "address": ["localhost", "host.example", "127.0.0.1:9100", "300.0.0.1", "[::1]"],
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
    "hosts": [
        *("*", ".example.com", "a b", "a.example:80", "https://a.example", "a/b", "\u00e9.example", "::1", "-a", "a."),
        "a.example, *",
    ],
    "import_paths": ["module", "module:", ":name", "a b:c", "a:b:c", "a.b:c.d"],
    "directory": ["/no/such/directory", "/dev/null", "\x00"],
    "json_object": ["{", "[]", "5", "/no/such/file", "no such file", "\x00"],
    "members_beside": [
        "{",
        "[]",
        "/no/such/file",
        '{"model": "m"}',
        '{"a": 1, "tools": []}',
        '{"model": null}',
        '{"text": 5, "generationConfig": 5, "output_config": 5}',
    ],
    "api_keys": ["mr-key", "{}", "[{}]", "[1]", "[", "/no/such/file", "./no/such/file", "keys.json"],
    "parse_models": ["{", "[]", "/no/such/file", '{"a": 1}', '{"a": {"b": 1}}'],
    "parse_stream_nodes": ["redis://h", "a=", "=redis://h", "abc=redis://h", "a=redis://h,a=redis://i", "a=http://h"],
    "provider_names": ["azure", ",", "bedrock,bedrock", "bedrock;openai"],
}


def kind_of_parser(name: str) -> str:
    each = next(each for _, each in declared() if name in each.metadata["names"])
    return each.metadata["parse"].__qualname__.split(".")[0]


CASES = [(name, bad) for name in variables() for bad in BAD[kind_of_parser(name)]]


@pytest.mark.parametrize(
    "given_value",
    ["60/minute", "10 per 2 hours", "1/second;100/day", "5/15 minutes | 9 per hour", "7 PER DAY", "3/1hour"],
)
def test_accepted_rates_are_accepted_by_the_limiter(given_value: str) -> None:
    assert parse_many(load({"MILLRACE_RATE_LIMIT": given_value}).limits.rate)
    assert load({"MILLRACE_RATE_LIMIT": " OFF "}).limits.rate == ""


def test_origins_are_accepted_as_browsers_send_them() -> None:
    given_value = "https://a.example, http://localhost:8080,http://[::1]:5173"
    loaded = load({"MILLRACE_ALLOWED_ORIGINS": given_value})
    assert loaded.http.allowed_origins == ("https://a.example", "http://localhost:8080", "http://[::1]:5173")


def test_hosts_are_names_and_addresses_in_any_case() -> None:
    loaded = load({"MILLRACE_ALLOWED_HOSTS": "Chat.example, my_app,127.0.0.1 , [::1]"})
    assert loaded.http.allowed_hosts == ("chat.example", "my_app", "127.0.0.1", "[::1]")


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://u:p@h:6380/3", "unix:///run/redis.sock", "redis://[::1]:6379/0"]
)
def test_every_url_that_redis_py_accepts_is_accepted(url: str) -> None:
    assert load({"MILLRACE_REDIS_URL": url}).redis.url == url


@given(st.integers(-10, 10**7))
def test_number_is_accepted_within_its_bounds_only(number: int) -> None:
    environment = {"MILLRACE_MAX_EVENTS": str(number)}
    if 16 <= number <= 10_000_000:
        assert load(environment).generation.max_events == number
    else:
        with pytest.raises(SettingError, match="MILLRACE_MAX_EVENTS: takes a whole number from 16 to 10000000"):
            load(environment)


def test_every_bad_value_is_rejected_with_the_name_of_its_variable() -> None:
    for name, bad in CASES:
        with pytest.raises(SettingError) as raised:
            load({name: bad})
        assert str(raised.value).startswith(f"{name}: "), (name, bad, str(raised.value))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://emulator:9000", True),
        ("https://localhost:1", True),
        ("https://keys.localhost", True),
        ("https://[::1]:8443/keys", True),
        ("https://0.0.0.0", True),
        ("https://bedrock.example.com", False),
        ("https://127.0.0.1.example.com", False),
        ("https://10.0.0.1", False),
        ("", False),
    ],
)
def test_servers_of_this_machine_and_those_without_tls_are_reached_directly(url: str, expected: bool) -> None:
    assert is_direct(url) is expected


@given(st.text(max_size=300))
def test_valid_owner_fits_on_one_log_line(name: str) -> None:
    if is_owner(name):
        assert name.strip() == name
        assert 1 <= len(name) <= 255
        assert len(name.splitlines()) == 1
        name.encode()


def test_other_types_and_surrounding_spaces_are_no_valid_owner() -> None:
    for name in (None, 1, b"ada", "", " ada", "ada ", "a\nb", "a\x00b", "a" * 256):
        assert not is_owner(name), name
    for name in ("ada", "Ada Lovelace", "ada@example.com", "a" * 255):
        assert is_owner(name), name


LONG, LATER, SHORT = "a" * 32, "b" * 32, "c" * 31


def test_comma_separates_secret_keys_and_each_must_be_long() -> None:
    for value, expected in {
        LONG: (LONG,),
        f"{LONG} ": (f"{LONG} ",),
        f"{LONG},{LATER}": (LONG, LATER),
        f" {LATER} ,\n{LONG}\n": (LATER, LONG),
        "a passphrase, of which no part is long": ("a passphrase, of which no part is long",),
        "\udcff" * 32: ("\udcff" * 32,),
    }.items():
        assert secret_keys(value, 32) == expected, value
    for value in (SHORT, f"{LONG},", f"{LONG},,{LATER}", f"{LONG},{SHORT}", f"{SHORT},{LONG}", "c,c"):
        with pytest.raises(ValueError, match=r"^takes at least 32 bytes in each key; a comma separates keys"):
            secret_keys(value, 32)


def test_host_name_is_the_header_without_port() -> None:
    for host, name in (("a", "a"), ("a:1", "a"), ("[::1]", "[::1]"), ("[::1]:1", "[::1]"), ("A.b.:1", "a.b"), ("", "")):
        assert host_name(host) == name
