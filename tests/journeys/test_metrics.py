"""The whole system is observable: metrics of all processes at one address, and machine-readable logs."""

import json
import re
from pathlib import Path
from typing import Any

from tests.client import Client, emulate, wait_for
from tests.system import System


def sum_of(text: str, name: str, **labels: str) -> float:
    """Return the sum over all processes of a figure's samples with these labels."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if re.match(rf"{name}(\{{|\s)", line)]
    return sum(float(line.split()[-1]) for line in lines if all(each in line for each in wanted))


def lines_of(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log that are ours; Celery greets in plain text before it logs."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_one_metrics_address_covers_all_processes(tmp_path: Path) -> None:
    with System(tmp_path, "--web", "2", "--worker", "2") as system, Client(system.url) as client:
        for _ in range(4):
            client.whole(client.ask(emulate(text="Complete.", rate=0)))
        client.whole(client.ask(emulate(text="a b c d", tokens=4, fault="disconnect", at=2, rate=0)))
        stopped = client.ask(emulate(tokens=1000, rate=20))
        reader = client.follow(stopped)
        _ = [next(reader) for _ in range(4)]

        def figures() -> str:
            return client.http.get("/metrics/cluster").text

        def wait_until(count: int, name: str, **labels: str) -> None:
            # Each process tells its own every five seconds.
            wait_for(lambda: sum_of(figures(), name, **labels) == count, 20, f"{count} by {name} {labels}")

        wait_until(1, "millrace_readers")
        wait_until(1, "millrace_unfinished")
        client.cancel(stopped)
        assert list(reader)[-1].event["type"] == "done"
        wait_until(4, "millrace_attempts_total", outcome="complete")
        wait_until(1, "millrace_attempts_total", outcome="cancelled")
        wait_until(1, "millrace_attempts_total", outcome="error", code="provider_unavailable")
        wait_until(6, "millrace_first_delta_seconds_count")
        wait_until(6, "millrace_http_requests_total", method="POST", route="/api/generations", status="202")
        wait_until(2, "millrace_workers_alive")
        wait_until(1, "millrace_redis_up")
        told = figures()
        assert len(set(re.findall(r'process="(web:[^"]+)"', told))) == 2
        assert len(set(re.findall(r'process="(worker:[^"]+)"', told))) == 2


def test_a_request_id_appears_in_the_logs_of_web_and_worker(system: System, client: Client) -> None:
    answer = client.post({"message": emulate(text="Found.", tokens=3, rate=0)}, **{"X-Request-Id": "find-me"})
    generation = answer.json()["id"]
    client.whole(generation)
    assert answer.headers["X-Request-Id"] == "find-me"

    def ended() -> list[dict[str, Any]]:
        lines = lines_of(system.logs()["worker1"])
        return [line for line in lines if line["event"] == "ended" and line["generation"] == generation]

    (line,) = wait_for(ended, 30, "the worker's line")
    logs = system.logs()
    assert (line["generation"], line["request_id"], line["attempt"]) == (generation, "find-me", 1)
    assert (line["outcome"], line["chars"], line["chunks"]) == ("complete", 6, 3)
    assert line["total_ms"] >= line["first_delta_ms"] >= 0
    assert line["output_tokens"] == 3
    assert line["is_exact"] is True
    asked = [each for each in lines_of(logs["web"]) if each.get("request_id") == "find-me"]
    assert [each["event"] for each in asked] == ["request"]
    assert asked[0]["owner"] == line["owner"]
    assert re.fullmatch(r"[0-9a-f]{32}", line["owner"])
    # Gunicorn's own lines have the same form: not one of the web's is anything else.
    assert all(each.startswith("{") for each in logs["web"].splitlines())
