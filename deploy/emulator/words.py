"""Make up text: the same seed gives the same text, always."""

import random
import re
from functools import lru_cache

_DOCUMENT = 4096  # characters made up for one seed; a longer text repeats them
_QUOTED = 280  # characters of the question that the plain answer quotes
_VOCABULARY = """
water wheel mill race stone grain flour river sluice gate stream bank weir pond flow turn grind sack miller morning
bridge meadow willow current depth channel timber axle bucket drop rise level carry steady slow swift
"""
_PLAIN = """\
**No model was called.** This is Millrace's local Bedrock endpoint, standing in for `{model}`. It speaks the real wire \
format, so the whole way from your browser to the worker and back can be tried without an AWS account; but nobody \
thought about this answer. It is a fixed text that depends on your question alone.

You asked:

{quote}

## What you are seeing

Each piece of this text travels as a delta of its own: out of an event stream, into a log, and from there to every \
page that follows it. A few things are worth trying while it flows:

- reload the page: the answer goes on where it was
- open a second tab: it shows the same text
- press *stop*: the call to the model is closed, and the text so far stands

## Scripting an answer

A message such as the following decides what is answered, how fast, and what goes wrong on the way:

```text
/emulate {{"tokens": 200, "rate": 50, "fault": "stall", "at": 120}}
```

With an AWS account, start with `--aws` to ask a real model the same question.
"""


def plain_answer(question: str, model: str) -> tuple[str, ...]:
    """Return the deltas of the answer to a question that scripts none: about a word each, in markdown."""
    quoted = question if len(question) <= _QUOTED else question[:_QUOTED].rstrip() + " …"
    quote = "\n".join(f"> {line}".rstrip() for line in re.split(r"[\r\n]+", quoted.strip()))
    text = _PLAIN.format(model=model, quote=quote or "> (nothing in words)")
    return tuple(re.findall(r"\s*\S{1,12}|\s+", text))


def made_up(seed: str, length: int) -> str:
    """Return exactly `length` characters of words that look like markdown."""
    document = _document(seed)
    return (document * (length // len(document) + 1))[:length]


@lru_cache(maxsize=256)
def _document(seed: str) -> str:
    chance = random.Random(ascii(seed))  # a lone surrogate can not be a seed
    parts: list[str] = []
    size = 0
    while size < _DOCUMENT:
        part = _paragraph(chance)
        parts.append(part)
        size += len(part)
    return "".join(parts)


def _paragraph(chance: random.Random) -> str:
    words = chance.choices(_VOCABULARY.split(), k=chance.randint(4, 30))
    match chance.randrange(6):
        case 0:
            return f"## {' '.join(words[:4]).capitalize()}\n\n"
        case 1:
            return "".join(f"- {word}\n" for word in words[:4]) + "\n"
        case 2:
            return f"{words[0].capitalize()} **{words[1]}** {' '.join(words[2:])}.\n\n"
        case _:
            return f"{' '.join(words).capitalize()}.\n\n"
