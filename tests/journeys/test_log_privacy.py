"""Questions and answers appear in the generation's log and in the database, and nowhere else."""

import os
import signal
from pathlib import Path

import httpx
import redis

from tests.client import Client, emulate, outcomes_of, text_of, wait_for
from tests.system import System

ASKED, ANSWERED = "heron-asked-7d1f", "heron-answered-93ab"
SECRET = "heron"


def ask_in_every_way(client: Client) -> None:
    """Ask well and badly, by each route, so that every text is one that must not be told."""
    told = emulate(text=f"{ANSWERED} one two three", tokens=4, rate=0)
    received = client.whole(client.ask(told, metadata={"note": ASKED}, stop_sequences=[ASKED]))
    assert ANSWERED in text_of(received)
    assert ANSWERED in client.post({"message": told, "stream": False}).text
    for path in ("/api/chat", "/api/conversation/me", "/api/conversation-stream/me"):
        answer = client.http.post(path, json={"message": told})
        assert "one two three" in answer.text, path
    history = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWERED}]
    client.whole(client.post({"messages": [*history, {"role": "user", "content": told}]}).json()["id"])
    for fault in ("throttle", "validation", "unavailable", "stream_error", "disconnect", "no_stop", "corrupt"):
        broken = client.whole(client.ask(emulate(text=f"{ANSWERED} {fault} " * 3, tokens=9, fault=fault, at=3, rate=0)))
        assert outcomes_of(broken)[0]["type"] == "error"
    stopped = client.ask(emulate(text=f"{ANSWERED} " * 500, tokens=500, rate=20))
    client.cancel(stopped)
    client.whole(stopped)


def refused_in_every_way(client: Client) -> list[httpx.Response]:
    """Return what is answered to requests that are wrong in some way and say what must not be told."""
    kinds = {"Content-Type": "application/json"}
    return [
        client.post({"message": [ASKED]}),
        client.post({"message": "a", ASKED: 1}),
        client.post({"message": "a", "model": ASKED}),
        client.post({"message": "a", "conversation_id": ASKED}),
        client.post({"message": ASKED * 10_000}),
        client.post({"message": "a", "system": ASKED}),
        client.http.post("/api/generations", content=f'{{"message": "{ASKED}', headers=kinds),
        client.http.post("/api/generations", content=ASKED, headers={"Content-Type": "text/plain"}),
        client.http.post("/api/chat", json={"message": "a", "history": ASKED}),
        client.http.post("/api/conversation-stream/me", json={"message": "a", "session_id": ASKED}),
    ]


def test_no_user_text_appears_in_a_log_a_task_or_a_key_name(tmp_path: Path) -> None:
    with System(tmp_path, MILLRACE_BEDROCK_TRIES="2") as system, Client(system.url) as client:
        ask_in_every_way(client)
        assert {answer.status_code for answer in refused_in_every_way(client)} <= {400, 403, 404, 413, 415, 422}
        (worker,) = system.pids()["worker"]
        with redis.Redis.from_url(system.redis_url) as store:
            os.kill(worker, signal.SIGSTOP)
            try:
                for number in range(3):  # the first goes to the one who waits for it, though it stands still
                    client.ask(emulate(text=f"{ANSWERED} late {number}", rate=0))
                tasks = wait_for(lambda: store.lrange("millrace", 0, -1), 30, "a task in the queue")
            finally:
                os.kill(worker, signal.SIGCONT)
            assert len(tasks) >= 1
            assert not [task for task in tasks if SECRET.encode() in task]
            assert not [key for key in store.scan_iter() if SECRET.encode() in key]
        logs = system.logs()
        assert {"web", "worker1", "redis"} <= set(logs)
        for name in logs:
            assert SECRET not in logs[name], name
        assert SECRET not in system.output()
