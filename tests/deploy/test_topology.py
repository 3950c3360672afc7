"""The environment of the child processes."""

from deploy.topology import child_environment

ENDPOINT = "http://127.0.0.1:2"


def test_given_environment_wins_over_the_defaults() -> None:
    given = {"MILLRACE_REDIS_URL": "redis://theirs", "MILLRACE_SECRET_KEY": "", "LANG": "C"}
    defaults = {"MILLRACE_REDIS_URL": "redis://default", "MILLRACE_SECRET_KEY": "made"}
    made = child_environment(given, defaults, "")
    assert made == {"MILLRACE_REDIS_URL": "redis://theirs", "MILLRACE_SECRET_KEY": "made", "LANG": "C"}


def test_local_endpoint_gets_none_of_the_users_credentials() -> None:
    made = child_environment(
        {"AWS_PROFILE": "gone", "AWS_ACCESS_KEY_ID": "mine", "AWS_SESSION_TOKEN": "t"}, {}, ENDPOINT
    )
    assert made == {
        "MILLRACE_BEDROCK_ENDPOINT_URL": ENDPOINT,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }


def test_credentials_are_unchanged_without_the_local_endpoint() -> None:
    given = {"AWS_PROFILE": "mine", "MILLRACE_BEDROCK_ENDPOINT_URL": "https://vpce"}
    assert child_environment(given, {}, "") == given
    assert child_environment(given, {}, ENDPOINT) == given
