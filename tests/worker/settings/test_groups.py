"""The declared settings: variables, defaults and derived values."""

from millrace.worker.settings.catalog import DEFAULT_MODEL
from millrace.worker.settings.schema import PREFIX, declared, load, variables


def test_model_is_read_from_bedrocks_variable_unless_ours_is_set() -> None:
    assert load({}).default_model == DEFAULT_MODEL
    assert load({"BEDROCK_MODEL_ID": "theirs"}).default_model == "theirs"
    assert load({"BEDROCK_MODEL_ID": "theirs", "MILLRACE_MODEL_ID": "ours"}).default_model == "ours"
    assert load({"BEDROCK_MODEL_ID": "theirs", "MILLRACE_MODEL_ID": ""}).default_model == "theirs"


def test_region_is_read_from_the_variables_of_aws_in_their_order() -> None:
    assert load({}).bedrock.region == "us-east-1"
    assert load({"AWS_DEFAULT_REGION": "eu-west-1"}).bedrock.region == "eu-west-1"
    assert load({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-central-1"}).bedrock.region == "eu-central-1"


def test_models_are_the_configured_one_and_the_allowed_ones() -> None:
    loaded = load({"MILLRACE_MODEL_ID": "a", "MILLRACE_ALLOWED_MODELS": " b, a ,,c "})
    assert loaded.model_names == ("a", "b", "c")


def test_broker_is_the_redis_by_default() -> None:
    assert load({"MILLRACE_REDIS_URL": "redis://r/1"}).redis.broker == "redis://r/1"
    assert (
        load({"MILLRACE_REDIS_URL": "redis://r/1", "MILLRACE_BROKER_URL": "rediss://b/2"}).redis.broker
        == "rediss://b/2"
    )


def test_every_variable_is_documented_and_has_a_known_prefix() -> None:
    for name, doc in variables().items():
        assert doc
        assert name.startswith((PREFIX, "AWS_", "BEDROCK_")) or name.endswith("_API_KEY")


def test_every_default_is_accepted_as_a_value() -> None:
    for group, each in declared():
        if each.default not in ("", ()) and not isinstance(each.default, bool):
            given_value = ",".join(each.default) if isinstance(each.default, tuple) else str(each.default)
            loaded = getattr(load({each.metadata["names"][0]: given_value}), group)
            assert getattr(loaded, each.name) == each.default


def test_waiting_request_is_answered_before_a_proxy_gives_up() -> None:
    """nginx's `proxy_read_timeout` is 60 s by default, and a request may wait 5 s for Redis first."""
    assert load({}).relay.wait_seconds + 5 < 60
