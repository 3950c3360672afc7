"""The model catalog: which candidates answer for a model's public name, and the traits and prices of models.

The built-in catalog is `worker/providers/catalog.json`, the only place that knows a model by its name;
`MILLRACE_MODELS` is merged over it.

https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
https://docs.claude.com/en/docs/about-claude/models/migrating-to-claude-4
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import msgspec

from millrace.worker.settings.parsers import json_object, words

ProviderName = Literal["bedrock", "bedrock-invoke", "openai", "gemini", "anthropic", "rlm"]
PROVIDER_NAMES: tuple[ProviderName, ...] = get_args(ProviderName)
Sampling = Literal["both", "one", "none"]
Window = Annotated[int, msgspec.Meta(ge=1000, le=100_000_000)]
Amount = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]

CATALOG_FILE = Path(__file__).parent.parent / "providers" / "catalog.json"


class ModelTraits(msgspec.Struct, frozen=True):
    """The traits of one model.

    `window` is the limit of prompt and answer together, in tokens. `caching` means that cache points work. `sampling`
    says whether a request may have `temperature` and `top_p`, or one of them, or none; `blank_stop_sequences` whether
    a stop sequence may be white space alone. `tools` means that a tool can be forced, `prefill` that an answer can be
    continued from given text, and `schema` that the provider itself holds an answer to a JSON schema.
    """

    window: int
    caching: bool = False
    sampling: Sampling = "both"
    blank_stop_sequences: bool = True
    tools: bool = True
    prefill: bool = True
    schema: bool = False


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens. Cached tokens without a price of their own cost as much as other input."""

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None


class Candidate(msgspec.Struct, frozen=True):
    """One way to answer for a public name: a provider, its id of the model, the model's traits and price."""

    provider: ProviderName
    id: str
    traits: ModelTraits
    price: Price | None = None


class _GivenTraits(msgspec.Struct, frozen=True, kw_only=True):
    """Traits and a price as written in a catalog; other traits are those of the model `like`, or of the id itself."""

    like: str | None = None
    window: Window | None = None
    caching: bool | None = None
    sampling: Sampling | None = None
    blank_stop_sequences: bool | None = None
    tools: bool | None = None
    prefill: bool | None = None
    schema: bool | None = None
    price: Price | None = None

    def changes(self) -> dict[str, Any]:
        """Return the traits that are written."""
        names = ModelTraits.__struct_fields__
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class _GivenCandidate(_GivenTraits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    provider: ProviderName
    id: str = ""


class GivenModel(_GivenTraits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model as written in a catalog, by its public name; without candidates it only gives traits and a price."""

    candidates: tuple[_GivenCandidate, ...] = ()


class _PrefixTraits(ModelTraits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prefix: str


class _CatalogFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default_model: str
    traits: tuple[_PrefixTraits, ...]
    models: dict[str, GivenModel]


_BUILT_IN = msgspec.json.decode(CATALOG_FILE.read_bytes(), type=_CatalogFile)
DEFAULT_MODEL = _BUILT_IN.default_model
"""The model of Bedrock that answers if no setting names one."""
# The first matching prefix counts. An unlisted model gets no cache points, because it might reject them.
_BY_PREFIX = {
    each.prefix: ModelTraits(**{name: getattr(each, name) for name in ModelTraits.__struct_fields__})
    for each in _BUILT_IN.traits
}
UNKNOWN_MODEL = ModelTraits(128_000)
WHOLE_SERVICE = ModelTraits(10_000_000, tools=False, prefill=False)
"""The traits of an upstream service, which has no model of its own to choose."""

_WITHOUT_PREFILL = ("openai", "gemini")  # an answer's beginning in the request is ignored there, and said again
_GEOGRAPHY = re.compile(r"(global|us|us-gov|eu|apac|jp|au|ca)\.")  # prefix of an inference profile
_WINDOW_SUFFIX = re.compile(r":(\d{1,4})k$", re.ASCII)  # such as amazon.nova-lite-v1:0:24k


def find_traits(model: str) -> ModelTraits:
    """Return the traits of a model, given its id, its inference profile or the ARN of either.

    The ARN of an application inference profile does not name its model: `MILLRACE_MODELS` gives its traits.
    """
    name = model.rpartition("/")[2]
    name = _GEOGRAPHY.sub("", name, count=1) if _GEOGRAPHY.match(name) else name
    name = name.removeprefix("anthropic.").removeprefix("openai.")
    traits = next((traits for prefix, traits in _BY_PREFIX.items() if name.startswith(prefix)), UNKNOWN_MODEL)
    window = _WINDOW_SUFFIX.search(name)
    return msgspec.structs.replace(traits, window=int(window[1]) * 1000) if window else traits


def provider_names(value: str) -> tuple[ProviderName, ...]:
    """Parse names of providers separated by commas, each once."""
    names = words(value)
    if not names or len({*names}) < len(names) or not {*names} <= {*PROVIDER_NAMES}:
        raise ValueError(f"takes one or more of {', '.join(PROVIDER_NAMES)}, separated by commas, each once")
    return cast("tuple[ProviderName, ...]", names)


def parse_models(value: str) -> tuple[tuple[str, GivenModel], ...]:
    """Parse models by their public names, as a JSON object or the path of a file that holds one."""
    given = cast("dict[str, Any]", json.loads(json_object(value)))
    return tuple((name, _parse_model(name, each)) for name, each in given.items())


def _parse_model(name: str, value: Any) -> GivenModel:
    try:
        model = msgspec.convert(value, GivenModel)
        _check_model(model)
        return model
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`")
        raise ValueError(
            "takes a JSON object of models by name, each with any of candidates (a list of provider, id, price and "
            "traits), price (input, output, cache_read, cache_write) and the traits like, window, caching, sampling "
            "(both, one or none), blank_stop_sequences, tools, prefill and schema; "
            f"of {name[:100]}: {reason}"
        ) from error


def _check_model(model: GivenModel) -> None:
    """Raise ValidationError for what is well-formed and can only be a mistake."""
    for place, each in (("", model), *((f"candidates[{at}].", each) for at, each in enumerate(model.candidates))):
        if each.like is not None and find_traits(each.like) is UNKNOWN_MODEL:
            raise msgspec.ValidationError(f"No traits are known of `{each.like[:100]}` - at `{place}like`")
        if isinstance(each, _GivenCandidate) and each.provider != "rlm" and not each.id.strip():
            raise msgspec.ValidationError(f"Expected the provider's id of a model - at `{place}id`")


def find_candidates(
    name: str, models: Mapping[str, GivenModel], order: tuple[ProviderName, ...], defaults: Mapping[str, str]
) -> tuple[Candidate, ...]:
    """Return who answers for a public name, in the order of the providers; empty if none of them does.

    A name with candidates in the catalog is answered by these. `PROVIDER/ID` names a provider's model directly. A name
    in `defaults`, which holds each provider's default model, stands for all of them. Any other name is an id of the
    first provider that has models to choose from. The upstream service (`rlm`) answers for every name.
    """
    known = _BUILT_IN.models | models
    given = known.get(name, GivenModel())
    found = [_resolve(each, name, known) for each in given.candidates or _implied(name, order, defaults)]
    if "rlm" in order and not any(each.provider == "rlm" for each in found):
        found.append(Candidate("rlm", "rlm", WHOLE_SERVICE))
    return tuple(
        sorted((each for each in found if each.provider in order), key=lambda each: order.index(each.provider))
    )


def _implied(name: str, order: tuple[ProviderName, ...], defaults: Mapping[str, str]) -> list[_GivenCandidate]:
    provider, _, model = name.partition("/")
    if provider in PROVIDER_NAMES and model:
        return [_GivenCandidate(provider=cast("ProviderName", provider), id=model)]
    choosing = [each for each in order if each != "rlm"]
    if name in defaults.values():
        return [_GivenCandidate(provider=each, id=defaults[each]) for each in choosing if defaults.get(each)]
    return [_GivenCandidate(provider=each, id=name) for each in choosing[:1]]


def _resolve(given: _GivenCandidate, name: str, known: Mapping[str, GivenModel]) -> Candidate:
    """Return the candidate, by what the catalog says of its id, of its group and of itself; the last word counts."""
    names = [given.id, f"{given.provider}/{given.id}"]
    if name in known and known[name].candidates:
        names.append(name)
    levels: list[_GivenTraits] = [*(known[each] for each in names if each in known), given]
    price = next((each.price for each in reversed(levels) if each.price is not None), None)
    if given.provider == "rlm":
        return Candidate("rlm", given.id or "rlm", WHOLE_SERVICE, price)
    traits = find_traits(next((each.like for each in reversed(levels) if each.like is not None), given.id))
    if given.provider in _WITHOUT_PREFILL:
        traits = msgspec.structs.replace(traits, prefill=False)
    for level in levels:
        traits = msgspec.structs.replace(traits, **level.changes())
    return Candidate(given.provider, given.id, traits, price)
