"""A direct call of the model: the time that boto3 takes to the first text.

`python -m tests.bench.peers.direct_call PLAN`: the plan is a JSON file with `bedrock`, the endpoint, and `message`.
Then a line of JSON comes in, {"count", "rate"}, and one goes out, {"p50_ms", "p99_ms", "most_ms", "times_ms"}. One call
follows the other; each is read to its end.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from boto3.session import Session
from botocore.config import Config

from tests.bench.wire import quantile


def main() -> None:
    """Do what the lines say."""
    plan = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    client: Any = Session().client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=plan["bedrock"],
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}),
    )
    for line in sys.stdin:
        said = json.loads(line)
        begin = time.monotonic()
        times: list[float] = []
        for number in range(said["count"]):
            time.sleep(max(0.0, begin + number / said["rate"] - time.monotonic()))
            times.append(1000 * first_text(client, plan["message"]))
        times.sort()
        told = {
            "p50_ms": quantile(times, 0.5),
            "p99_ms": quantile(times, 0.99),
            "most_ms": times[-1],
            "times_ms": times,
        }
        print(json.dumps(told | {"times_ms": times}), flush=True)


def first_text(client: Any, message: str) -> float:
    """Ask, read all, and return the seconds to the first text."""
    begun, first = time.monotonic(), 0.0
    asked = [{"role": "user", "content": [{"text": message}]}]
    for event in client.converse_stream(modelId="m", messages=asked)["stream"]:
        if "contentBlockDelta" in event and not first:
            first = time.monotonic()
    return first - begun


if __name__ == "__main__":
    main()
