"""The log machine fails when any one rule is removed from the scripts, so its success is evidence for every rule."""

import pytest
from hypothesis import settings
from hypothesis.errors import Flaky
from redis.exceptions import ResponseError

from millrace.worker.contract.redis.connection import Redis
from tests.worker.contract.log_machine import SAME_RUNS, run

FRESH_RUNS = settings(SAME_RUNS, derandomize=False)

NEVER = "if false then"
SUSPECT = "\n    redis.call('HSET', STATE, 'suspect'"
LEASE, NO_LEASE = "redis.call('ZADD', LEASES, number(now + lease_ms), id)\nend", "redis.call('ZREM', LEASES, id)\nend"
SETTLED = "if end_if_due(id, cjson.decode(ARGV[7]), ARGV[6], tonumber(ARGV[5])) then"
NEXT_EPOCH = "number(next_epoch(tonumber(s[2]), s[{}]))"
ANOTHER_CHUNK = """PUBLISH', CHANNEL, id .. ' {"type":"chunk","content":"<999:1>"}')"""

RULES = {
    "create: once": ("if redis.call('EXISTS', STATE) == 1 then", NEVER),
    "append: the fence": ("if s[1] ~= token then return { 'fenced', cancel, top } end", ""),
    "append: a resend is a dup": ("if top_epoch == epoch and seq <= top_seq then", NEVER),
    "append: no gaps": ("if seq ~= top_seq + 1 then", NEVER),
    "append: nothing after the outcome": ("if s[6] or (s[4] and kind", "if s[6] or (false and kind"),
    "append: a claim from after the state is lost": ("if not s[1] or tonumber(s[2]) < epoch then", "if not s[1] then"),
    "append: done ends the lease": ("if kind == 'done' then mark_done(id, log_ttl_ms, is_settled) end", ""),
    "publish: the bytes of the entry": ("PUBLISH', CHANNEL, id .. ' ' .. data)", ANOTHER_CHUNK),
    "epochs: an epoch follows the clock": ("top_epoch + 1, now_ms() - 100 * EPOCH_ORIGIN)", "top_epoch + 1)"),
    "epochs: every claim has its own": ("s[3] = number(next_epoch(tonumber(s[3]), s[4]))", ""),
    "epochs: every ending has its own": (
        "local epoch = next_epoch(tonumber(s[1]), s[2])",
        "local epoch = tonumber(s[1])",
    ),
    "claim: at most one holder": ("if s[1] ~= '' then return { 'busy' } end", ""),
    "claim: a due ending comes first": (
        "if end_if_due(id, cjson.decode(ARGV[7]), ARGV[6]",
        "if false and end_if_due(id, ARGV[6]",
    ),
    "claim: a lease": (
        "redis.call('ZADD', LEASES, number(now + lease_ms), id)\n  redis.call('HSET'",
        "redis.call('ZREM', LEASES, id)\n  redis.call('HSET'",
    ),
    "settle: an outcome wins": ("if s[1] then\n    end_generation", "if s[1] and not s[2] then\n    end_generation"),
    "finish: done follows at once": ("top = write(epoch, seq + 1, final_events['done:' .. status])", ""),
    "sweep: two sweeps before a takeover": (
        "if not s[4] then\n    redis.call('HSET', STATE, 'suspect'",
        f"{NEVER}\n    redis.call('HSET', STATE, 'suspect'",
    ),
    "sweep: a takeover fences the holder": (NEXT_EPOCH.format(8), "s[2]"),
    "sweep: attempts are counted": ("'losses', losses,", "'losses', 0,"),
    "sweep: an unfinished generation stays in the leases": (
        "  look_again(again_ms)\n",
        "  redis.call('ZREM', LEASES, id)\n",
    ),
    "release: the old holder is fenced": (NEXT_EPOCH.format(3), "s[2]"),
    "renew: a suspicion is cleared": ("id)\nredis.call('HDEL', STATE, 'suspect')\n", "id)\n"),
    "renew: a lost claim is reported": (
        "epoch then return { 'lost', '' } end",
        "epoch then return { 'fenced', '' } end",
    ),
    "reclaim: a later claim is kept": ("if tonumber(s[1]) > held then", NEVER),
    "reclaim: an epoch of its own": ("number(next_epoch(math.max(tonumber(s[1]), held), s[2]))", "number(held)"),
    "reclaim: an outcome is kept": ("if not s[3] then redis.call('HSET'", "if true then redis.call('HSET'"),
    "cancel: a held generation is ended by its holder": ("if s[1] ~= '' then return { 'flagged', s[2] } end", ""),
    "cancel: not after the outcome": ("if s[3] or s[5] then return { 'over', s[2] } end", ""),
}


@pytest.mark.parametrize("rule", RULES)
def test_machine_fails_when_a_rule_is_removed(redis: Redis, rule: str) -> None:
    assert any(_fails(redis, rule, runs) for runs in (SAME_RUNS, *[FRESH_RUNS] * 8))


def _fails(redis: Redis, rule: str, runs: settings) -> bool:
    """Return whether the machine notices the missing rule.

    Hypothesis takes constants from all modules, so the usual runs change with them: a rare case may need fresh ones.
    """
    try:
        run(redis, RULES[rule], runs=runs)
    except (AssertionError, ResponseError, Flaky):  # a failure that depends on the clock may not repeat (Flaky)
        return True
    finally:
        redis.flushall()
    return False
