"""The lifetimes and deadlines in milliseconds."""

from millrace.worker.contract import lifetimes
from millrace.worker.settings.groups import GenerationSettings
from millrace.worker.settings.schema import Settings
from millrace.worker.store.conversations import TOMBSTONE_MS


def test_settings_in_seconds_become_whole_milliseconds() -> None:
    settings = Settings.of(lease_seconds=8.5, queue_seconds=120, max_seconds=900, log_ttl_seconds=3600)
    assert lifetimes.lease_ms(settings) == 8500
    assert lifetimes.queue_ms(settings) == 120_000
    assert lifetimes.run_ms(settings) == 900_000 + lifetimes.RUN_SLACK_MS
    assert lifetimes.log_ttl_ms(settings) == 3_600_000
    assert isinstance(lifetimes.to_ms(0.0015), int)


def test_state_outlives_everything_that_refers_to_it() -> None:
    (log_ttl,) = [each for name, each in GenerationSettings.__dataclass_fields__.items() if name == "log_ttl_seconds"]
    longest_log_ms = 86_400 * 1000
    assert log_ttl.metadata["parse"](str(longest_log_ms // 1000)) * 1000 == longest_log_ms
    assert max(longest_log_ms, lifetimes.IDEMPOTENCY_KEY_MS) < lifetimes.STATE_MS < TOMBSTONE_MS
