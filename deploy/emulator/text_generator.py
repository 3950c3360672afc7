"""Generate text for answers: deterministic, the same input always gives the same text."""

import random
import re
from functools import lru_cache

_DOCUMENT_CHARS = 4096  # generated for one seed; a longer text repeats them
_QUOTED_CHARS = 280  # of the question, in the default answer
_VOCABULARY = """
water wheel mill race stone grain flour river sluice gate stream bank weir pond flow turn grind sack miller morning
bridge meadow willow current depth channel timber axle bucket drop rise level carry steady slow swift
"""
_DEFAULT_ANSWER = """\
**No model was called.** This answer comes from Millrace's local endpoint, which stands in for `{model}`. The endpoint \
speaks the real wire formats of model providers, so you can try the whole path from browser to worker and back without \
an account. The text is fixed: only the model's name and the quoted question change.

Your question:

{quote}

## What to try

Each piece of this text is a delta of its own. It travels through an event stream into a log, and from there to every \
page that follows the answer. Try these while it streams:

- Reload the page: the answer continues where it was.
- Open a second tab: it shows the same text.
- Press *Stop*: the worker closes the call to the model, and the text so far is kept.

## Script an answer

A message like this one sets the text, the speed and the fault of its answer:

```text
/emulate {{"tokens": 200, "rate": 50, "fault": "stall", "at": 120}}
```

To ask a real model on Bedrock, use an AWS account and start with `--aws`.
"""


def default_answer(question: str, model: str) -> tuple[str, ...]:
    """Return the deltas of the markdown answer to a question without a directive, about a word each."""
    quoted = question if len(question) <= _QUOTED_CHARS else question[:_QUOTED_CHARS].rstrip() + " …"
    quote = "\n".join(f"> {line}".rstrip() for line in re.split(r"[\r\n]+", quoted.strip()))
    text = _DEFAULT_ANSWER.format(model=model, quote=quote if quoted.strip() else "> (a message without text)")
    return tuple(re.findall(r"\s*\S{1,12}|\s+", text))


def generate_text(seed: str, length: int) -> str:
    """Return exactly `length` characters of markdown, made of random words; `seed` decides which."""
    document = _document(seed)
    return (document * (length // len(document) + 1))[:length]


@lru_cache(maxsize=256)
def _document(seed: str) -> str:
    rng = random.Random(ascii(seed))  # escaped, because `Random` rejects a lone surrogate
    parts: list[str] = []
    size = 0
    while size < _DOCUMENT_CHARS:
        part = _paragraph(rng)
        parts.append(part)
        size += len(part)
    return "".join(parts)


def _paragraph(rng: random.Random) -> str:
    words = rng.choices(_VOCABULARY.split(), k=rng.randint(4, 30))
    match rng.randrange(6):
        case 0:
            return f"## {' '.join(words[:4]).capitalize()}\n\n"
        case 1:
            return "".join(f"- {word}\n" for word in words[:4]) + "\n"
        case 2:
            return f"{words[0].capitalize()} **{words[1]}** {' '.join(words[2:])}.\n\n"
        case _:
            return f"{' '.join(words).capitalize()}.\n\n"
