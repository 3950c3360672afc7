"""The plain worker: boto3's iteration, and one call of a Lua script per flush.

`python plain_loop.py BEDROCK REDIS ANSWERS MESSAGE` sends the message ANSWERS times at once; when all have
ended it prints a line and keeps running.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - after the patching, as everything below
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import redis  # noqa: E402
from boto3.session import Session  # noqa: E402
from botocore.config import Config  # noqa: E402

FLUSH_SECONDS = 0.02
_APPEND = """
local id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[2], id .. ' ' .. ARGV[1])
return redis.call('GET', KEYS[3])
"""


def main(bedrock: str, store: str, answers: int, message: str) -> None:
    """Answer all at once, each in a greenlet."""
    config = Config(max_pool_connections=answers, retries={"total_max_attempts": 1})
    client: Any = Session().client("bedrock-runtime", region_name="us-east-1", endpoint_url=bedrock, config=config)
    append: Any = redis.Redis.from_url(store, max_connections=answers).register_script(_APPEND)

    def answer(number: int) -> None:
        keys = [f"log:{number}", f"channel:{number}", f"cancel:{number}"]
        asked = [{"role": "user", "content": [{"text": message}]}]
        parts: list[str] = []
        flushed = 0.0
        for event in client.converse_stream(modelId="m", messages=asked)["stream"]:
            if "contentBlockDelta" not in event:
                continue
            parts.append(event["contentBlockDelta"]["delta"]["text"])
            if time.monotonic() - flushed >= FLUSH_SECONDS:
                append(keys, [json.dumps({"type": "chunk", "content": "".join(parts)})])
                parts, flushed = [], time.monotonic()
        append(keys, [json.dumps({"type": "chunk", "content": "".join(parts)})])

    gevent.joinall([gevent.spawn(answer, number) for number in range(answers)], raise_error=True)
    print("over", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
