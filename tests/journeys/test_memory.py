"""Large requests do not fill Redis: a request leaves it as soon as its answer is stored, or can't be."""

import threading

import redis

from tests.client import Client, emulate, wait_for
from tests.system import System

HISTORIES = 20
MESSAGE = "\U0001f600" * 24_000  # 96 KB in UTF-8, 288 KB with escapes
RUNNING_AT_ONCE = 6  # the limit of one owner, and one that has just ended


def test_large_stateless_histories_leave_redis_with_their_answers(system: System) -> None:
    history = [{"role": role, "content": MESSAGE} for role in ("user", "assistant") * 5]
    history.append({"role": "user", "content": emulate(text="done", rate=0)})
    size = len(MESSAGE.encode()) * 10
    highest: list[int] = []
    is_over = threading.Event()
    with redis.Redis.from_url(system.redis_url) as store, Client(system.url) as attacker, Client(system.url) as honest:

        def used() -> int:
            return int(store.info("memory")["used_memory"])  # type: ignore[index]

        def watch() -> None:
            while not is_over.wait(0.02):
                highest.append(used())

        before = used()
        watching = threading.Thread(target=watch)
        watching.start()
        try:
            asked = [attacker.post({"messages": history, "stream": False}) for _ in range(HISTORIES)]
            honest.whole(honest.ask(emulate(text="short", rate=0)))
        finally:
            is_over.set()
            watching.join()
        assert {(answer.status_code, answer.json()["message"]) for answer in asked} == {(200, "done")}
        assert max(highest) - before < 2 * RUNNING_AT_ONCE * size
        wait_for(lambda: used() - before < 2 * size, 30, "that Redis holds no request any more")
