"""The vendors' official SDKs as clients of the local endpoint, and random scripts of answers for all of them.

`raw_request` sends bytes without an SDK, to see what an SDK hides.
"""

import json
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests.emulator.harness import UNUSUAL_TEXT, emulate

_ALPHABET = 'ab \n"\\{}é水\u2028\U0001f600' + UNUSUAL_TEXT.replace("\ud800", "")


def random_scripts(count: int, **more: Any) -> Iterator[dict[str, Any]]:
    """Yield the keys of `count` random directives; each further key is given a value of its list, or is left out."""
    for seed in range(count):
        rng = random.Random(seed)
        keys: dict[str, Any] = {"deltas": [_random_text(rng) for _ in range(rng.randrange(6))]}
        for name, values in more.items():
            if rng.random() < 0.5:
                keys[name] = rng.choice(values)
        if rng.random() < 0.5:
            keys["reasoning"] = _random_text(rng) + "?"
        if rng.random() < 0.5:
            names = rng.sample(["look_up", "measure-it", "count_2"], rng.randint(1, 2))
            keys["tools"] = [{"name": name, "input": _random_input(rng, 2)} for name in names]
        if rng.random() < 0.5:
            keys["usage"] = {"inputTokens": rng.randrange(99), "cacheReadInputTokens": rng.randrange(9)}
        yield keys


def _random_text(rng: random.Random) -> str:
    return "".join(rng.choices(_ALPHABET, k=rng.randint(1, 12)))


def _random_input(rng: random.Random, depth: int) -> dict[str, Any]:
    leaves: list[Any] = [None, True, 7, -1.5, _random_text(rng), [], {}, [1, {"a": [_random_text(rng)]}]]
    fields = {f"k{place}": rng.choice(leaves) for place in range(rng.randrange(4))}
    return fields | ({"deeper": _random_input(rng, depth - 1)} if depth else {})


def raw_request(
    url: str, body: Any, headers: dict[str, str] | None = None, method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers in lower case and the body of a response, whatever its status."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode("ascii")
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def scripted(**keys: Any) -> list[dict[str, Any]]:
    """Return Anthropic's `messages` with one message that scripts the answer."""
    return [{"role": "user", "content": emulate(**keys)}]
