"""Print the users of a Redis with the least rights: `python3 deploy/redis_acl.py --help` lists the options.

The lines are those of an ACL file (`aclfile` in redis.conf); each is also the arguments of `ACL SETUSER` without its
first word. A password is not printed: give each user one, as `>PASSWORD` or `#HASH`.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["web", "worker"]
Use = Literal["streams", "control", "queue", "limits", "cluster"]


@dataclass(frozen=True)
class Rights:
    """The rights of a process: its commands, and the patterns of its keys and channels."""

    commands: frozenset[str]
    keys: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def __or__(self, other: "Rights") -> "Rights":
        """Return the rights of both."""
        return Rights(self.commands | other.commands, self.keys | other.keys, self.channels | other.channels)


def _rights(commands: str, keys: str = "", channels: str = "") -> Rights:
    return Rights(frozenset(commands.split()), frozenset(keys.split()), frozenset(channels.split()))


CONNECTION = _rights("client|setname ping select")  # AUTH and HELLO are everyone's
SCRIPTS = _rights("evalsha script|load")
DOCTOR = _rights("del get info set time")
DOCTORS_KEYS = _rights("", "mr:check:*")  # those that have no bucket
DECISIONS = _rights(
    "del exists hdel hexists hget hgetall hincrby hmget hset hsetnx pexpire pttl publish time type"
    " xadd zadd zcard zcount zrange zrangebyscore zrem zremrangebyscore zscore"
)
"""Commands of the scripts about generations; web processes and workers run nearly the same ones."""
PIPELINES = _rights("exec multi")
GENERATIONS = DECISIONS | _rights("set xrange", "mr:{b*", "mr:*")
LANES = _rights("exists hdel hexists hset hsetnx llen lpop lpush lrange lrem pexpire rpush")
LANE_KEYS = "mr:{waiting}:* millrace millrace.check.*"

GRANTS: dict[tuple[Role, Use], Rights] = {
    ("web", "streams"): GENERATIONS | _rights("expire scan subscribe unsubscribe"),
    ("worker", "streams"): GENERATIONS | _rights("expire subscribe"),
    ("web", "control"): DECISIONS
    | PIPELINES
    | _rights("get scan set subscribe unsubscribe xrange xrevrange", "mr:*", "mr:*"),
    ("worker", "control"): DECISIONS
    | PIPELINES
    | _rights(
        "get set xrevrange",
        "mr:owner:* mr:figures* mr:workers mr:breaker:*",
        "mr:owner:*",
    ),
    ("web", "queue"): LANES | _rights("", LANE_KEYS),
    ("worker", "queue"): LANES
    | PIPELINES
    | _rights("brpop expire publish sadd", f"{LANE_KEYS} millrace* _kombu.binding*", "/*.celeryev/*"),
    ("web", "limits"): _rights("exists get incrby pexpire pttl rename set", "mr:limits:*"),
    ("web", "cluster"): _rights("asking cluster|slots"),
    ("worker", "cluster"): _rights("asking cluster|slots"),
}
USES: tuple[Use, ...] = get_args(Use)
WHOLE: tuple[Use, ...] = ("streams", "control", "queue", "limits")  # of one Redis for everything


def rights_of(role: Role, uses: Iterable[Use] = WHOLE) -> Rights:
    """Return the rights of a tier at a Redis that is used for this, none of which another one includes."""
    found = CONNECTION | SCRIPTS | DOCTOR
    every: set[Use] = set(uses)
    if "control" in every:
        every.add("streams")  # generations without a node in their id are there
    for use in every:
        found |= GRANTS.get((role, use), Rights(frozenset()))
        found |= DOCTORS_KEYS if use in ("control", "queue", "limits") else Rights(frozenset())
    return Rights(found.commands, _without_covered(found.keys), _without_covered(found.channels))


def _without_covered(patterns: frozenset[str]) -> frozenset[str]:
    """Return the patterns without those whose matches another one has as well."""
    beginnings = {each: each[:-1] for each in patterns if each.endswith("*")}
    return frozenset(
        pattern
        for pattern in patterns
        if not any(pattern.startswith(begin) for each, begin in beginnings.items() if each != pattern)
    )


def line_of(user: str, rights: Rights) -> str:
    """Return the line of a user of an ACL file, without a password."""
    keys = [f"~{pattern}" for pattern in sorted(rights.keys)]
    channels = [f"&{pattern}" for pattern in sorted(rights.channels)]
    commands = [f"+{command}" for command in sorted(rights.commands)]
    return " ".join(["user", user, "on", "resetkeys", *keys, "resetchannels", *channels, "-@all", *commands])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each user; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="deploy/redis_acl.py", description="Print the users of a Redis with the least rights.", allow_abbrev=False
    )
    parser.add_argument(
        *("--use", "-u"),
        action="append",
        choices=USES,
        metavar="USE",
        help=f"what this Redis is for, where there are several: {', '.join(USES)}; may be repeated (all but cluster)",
    )
    parser.add_argument("--prefix", default="millrace-", help="the beginning of the users' names (millrace-)")
    flags = parser.parse_args(arguments)
    uses: Sequence[Use] = flags.use or WHOLE
    for role in get_args(Role):
        if any((role, use) in GRANTS for use in uses):
            print(line_of(f"{flags.prefix}{role}", rights_of(role, uses)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
