"""All settings of both tiers, read once from the environment."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Self

from millrace.worker.errors import SettingError
from millrace.worker.settings import groups, provider_groups
from millrace.worker.settings.catalog import DEFAULT_MODEL, Candidate, ProviderName, find_candidates
from millrace.worker.settings.checks import (
    check_auth,
    check_breaker,
    check_database,
    check_intent_schema,
    check_providers,
    check_search,
    check_streams,
)
from millrace.worker.settings.redis_url import redis_url

PREFIX = "MILLRACE_"


@dataclass(frozen=True)
class Settings:
    """All settings of both tiers, in groups.

    `Settings.of(redis_url=…)` and `settings.replace(lease_seconds=…)` take the variables' names in lower case without
    `MILLRACE_`, and parsed values.
    """

    redis: groups.RedisSettings = field(default_factory=groups.RedisSettings)
    database: groups.DatabaseSettings = field(default_factory=groups.DatabaseSettings)
    models: groups.ModelSettings = field(default_factory=groups.ModelSettings)
    providers: provider_groups.ProviderSettings = field(default_factory=provider_groups.ProviderSettings)
    bedrock: provider_groups.BedrockSettings = field(default_factory=provider_groups.BedrockSettings)
    openai: provider_groups.OpenAISettings = field(default_factory=provider_groups.OpenAISettings)
    gemini: provider_groups.GeminiSettings = field(default_factory=provider_groups.GeminiSettings)
    anthropic: provider_groups.AnthropicSettings = field(default_factory=provider_groups.AnthropicSettings)
    rlm: provider_groups.RlmSettings = field(default_factory=provider_groups.RlmSettings)
    breaker: provider_groups.BreakerSettings = field(default_factory=provider_groups.BreakerSettings)
    context: groups.ContextSettings = field(default_factory=groups.ContextSettings)
    search: groups.SearchSettings = field(default_factory=groups.SearchSettings)
    generation: groups.GenerationSettings = field(default_factory=groups.GenerationSettings)
    images: groups.ImageSettings = field(default_factory=groups.ImageSettings)
    hooks: groups.HookSettings = field(default_factory=groups.HookSettings)
    worker: groups.WorkerSettings = field(default_factory=groups.WorkerSettings)
    relay: groups.RelaySettings = field(default_factory=groups.RelaySettings)
    auth: groups.AuthSettings = field(default_factory=groups.AuthSettings)
    limits: groups.LimitSettings = field(default_factory=groups.LimitSettings)
    http: groups.HttpSettings = field(default_factory=groups.HttpSettings)

    @property
    def default_models(self) -> dict[ProviderName, str]:
        """Each provider's default model; `MILLRACE_MODEL_ID` is Bedrock's or, without Bedrock, the first one's."""
        order = [each for each in self.providers.order if each != "rlm"]
        given = {"openai": self.openai.model, "gemini": self.gemini.model, "anthropic": self.anthropic.model}
        own = next((each for each in order if each.startswith("bedrock")), order[0] if order else None)
        found = {each: given.get(each, DEFAULT_MODEL) for each in order}
        return found | ({own: self.models.model_id} if own and self.models.model_id else {})

    @property
    def default_model(self) -> str:
        """The model of a request that names none."""
        defaults = self.default_models
        own = next((each for each in defaults if each.startswith("bedrock")), next(iter(defaults), None))
        return self.models.model_id or (defaults[own] if own else "rlm")

    @property
    def small_model(self) -> str:
        """The model of short calls beside an answer."""
        return self.models.small_model_id or self.default_model

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that a request may name, the default one first."""
        return tuple(dict.fromkeys((self.default_model, *self.models.allowed)))

    def candidates(self, model: str) -> tuple[Candidate, ...]:
        """Return who answers for a model's public name, in order; never empty for a name that `check` accepts."""
        return find_candidates(model, dict(self.models.catalog), self.providers.order, self.default_models)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Return the defaults with these values; raises TypeError for an unknown name."""
        return cls().replace(**values)

    def replace(self, **values: Any) -> Self:
        """Return a copy with these values; raises TypeError for an unknown name."""
        places = {name_of(each): (group, each.name) for group, each in declared()}
        if unknown := values.keys() - places.keys():
            raise TypeError(f"unknown settings: {', '.join(sorted(unknown))}")
        changes: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            group, attribute = places[name]
            changes.setdefault(group, {})[attribute] = value
        return replace(self, **{group: replace(getattr(self, group), **new) for group, new in changes.items()})


def name_of(declared: Field[Any]) -> str:
    """Return the name that `Settings.of` takes: the variable's in lower case, without `MILLRACE_`."""
    return declared.metadata["names"][0].removeprefix(PREFIX).lower()


def variables() -> dict[str, str]:
    """Return every variable that is read, with its line of documentation."""
    return {name: each.metadata["doc"] for _, each in declared() for name in each.metadata["names"]}


def redis_urls(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the URL of each Redis that the environment names, by its variable."""
    given = os.environ if environment is None else environment
    declarations = [each.metadata for _, each in declared() if each.metadata["parse"] is redis_url]
    return {name: given[name] for each in declarations for name in each["names"] if given.get(name)}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings, by default from the process's environment.

    An empty variable counts as not set. Raises SettingError that names every bad and every unknown variable and what
    each takes, or the settings that contradict each other.
    """
    environment = os.environ if environment is None else environment
    known = variables()
    wrong = [f"{name}: unknown setting" for name in environment if name.startswith(PREFIX) and name not in known]
    values: dict[str, Any] = {}
    for _, each in declared():
        name = next((name for name in each.metadata["names"] if environment.get(name)), None)
        if name is None:
            continue
        try:
            values[name_of(each)] = each.metadata["parse"](environment[name])
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    if wrong:
        raise SettingError("; ".join(sorted(wrong)))
    return check(Settings.of(**values))


def check(settings: Settings) -> Settings:
    """Return the settings unchanged; raises SettingError where they contradict each other."""
    check_auth(settings.auth)
    check_streams(settings.redis)
    check_database(settings.database)
    check_breaker(settings.breaker)
    check_search(settings.search)
    check_intent_schema(settings.context.intent_schema)
    check_providers(settings.providers, settings.openai, settings.gemini, settings.anthropic, settings.rlm)
    _check_models(settings)
    return settings


def _check_models(settings: Settings) -> None:
    for provider, model in settings.default_models.items():
        if not model and settings.default_model == model:
            raise SettingError(
                f"MILLRACE_{provider.upper()}_MODEL: is not set; {provider} in MILLRACE_PROVIDERS requires it"
            )
    for name, model in (
        ("MILLRACE_MODEL_ID", settings.default_model),
        ("MILLRACE_SMALL_MODEL_ID", settings.small_model),
        *(("MILLRACE_ALLOWED_MODELS", model) for model in settings.models.allowed),
    ):
        if not settings.candidates(model):
            raise SettingError(
                f"{name}: no provider of MILLRACE_PROVIDERS={','.join(settings.providers.order)} answers for {model}"
            )


def declared() -> Iterator[tuple[str, Field[Any]]]:
    """Yield each setting with the name of its group."""
    for group in fields(Settings):
        for each in fields(group.default_factory):  # type: ignore[arg-type]
            yield group.name, each
