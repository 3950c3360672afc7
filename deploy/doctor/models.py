"""Checks of the models: each is asked one question by this process, with this environment's credentials."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import gevent
import msgspec

from deploy.doctor.report import Finding, failed, ok
from millrace.worker.contract.events import Chunk, Reasoning, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.prices import with_cost
from millrace.worker.providers.protocol import Prompt, Provider, Stopped
from millrace.worker.providers.registry import FACTORIES
from millrace.worker.settings.catalog import Candidate, ProviderName
from millrace.worker.settings.parsers import is_loopback
from millrace.worker.settings.schema import Settings

QUESTION = "Reply with the one word: ok"
TOKENS = 16  # the least that every API takes; the answer needs one or two
MODEL_SECONDS = 30.0
_MAX_SHOWN = 400  # characters of a provider's own message

ADVICE = {
    "provider_authentication": (
        "The credentials are missing, expired or wrong, or may not use this model. For Bedrock, `aws sts "
        "get-caller-identity` shows whose they are, and its console which models the account has access to. The "
        "others take an API key, such as MILLRACE_OPENAI_API_KEY."
    ),
    "provider_rejected": (
        "The provider does not take the request, most often because it does not know the model's id in this region "
        "or account. Correct MILLRACE_MODEL_ID; for most models Bedrock needs an inference profile's (global.…, us.…)."
    ),
    "provider_throttled": "The account's quota is used up, or is zero for this model. Ask for more, or add a provider.",
    "provider_unavailable": (
        "The provider can't be reached, or has an outage. Check its address and region, this machine's way out "
        "(HTTPS_PROXY, firewall), and the provider's status page."
    ),
    "provider_timeout": "The provider accepted the request and sent nothing. See its status page; try another region.",
    "content_filtered": "A guardrail or filter stops even a harmless question. Look at its rules.",
    "context_too_long": "Even a question of six words is too long for it. Look at the model's window and id.",
    "truncated": "Another API may be behind its address, or a proxy on the way cuts its answers. Check the address.",
    "malformed_output": "The provider's answer is unreadable. Check its address: another API may be behind it.",
}
_OTHER_ADVICE = "Look for this code in the worker's log, which has the cause."


def advice_for(code: str) -> str:
    """Return what to do about an error code of an answer."""
    return ADVICE.get(code, _OTHER_ADVICE)


def check_models(settings: Settings) -> Iterator[Finding]:
    """Ask every candidate of the models that the settings name, all at once, and yield a finding for each, in order."""
    names = dict.fromkeys((*settings.model_names, settings.small_model))
    candidates: dict[tuple[str, str], dict[str, Candidate]] = {}
    for name in names:
        for each in settings.candidates(name):
            candidates.setdefault((each.provider, each.id), {})[name] = each
    with ExitStack() as providers:
        made = {
            name: providers.enter_context(closing(FACTORIES[name](settings, len(candidates))))
            for name in settings.providers.order
            if name in FACTORIES
        }
        asked = [
            gevent.spawn(ask_candidate, made.get(provider), named, settings)
            for (provider, _), named in candidates.items()
        ]
        for answer in asked:
            answer.join()
            yield answer.get()


def is_local(provider: ProviderName, settings: Settings) -> bool:
    """Return whether a provider's address is this machine's, such as that of the local endpoint, which is no model."""
    address = {
        "openai": settings.openai.base_url,
        "gemini": settings.gemini.base_url,
        "anthropic": settings.anthropic.base_url,
        "rlm": settings.rlm.url,
    }.get(provider, settings.bedrock.endpoint_url)
    return is_loopback(urlsplit(address).hostname or "")


def ask_candidate(provider: Provider | None, named: Mapping[str, Candidate], settings: Settings) -> Finding:
    """Return how long the model took to its first text, or what its provider says instead.

    `named` holds the same model under each public name that it answers for, perhaps with prices of their own.
    """
    candidate = next(iter(named.values()))
    subject = f"model {candidate.provider}/{candidate.id}"
    if provider is None:
        advice = "Remove it from MILLRACE_PROVIDERS, or update Millrace."
        return failed(subject, "this version has no such provider", advice)
    prompt = Prompt(candidate.id, (PromptMessage("user", QUESTION),), TOKENS, traits=candidate.traits)
    began, first, usage, has_stopped = time.monotonic(), 0.0, None, False
    try:
        with gevent.Timeout(MODEL_SECONDS), closing(provider.stream(prompt)) as deltas:
            for delta in deltas:
                if isinstance(delta, Chunk | Reasoning) and not first:
                    first = time.monotonic() - began
                elif isinstance(delta, Usage):
                    usage = delta
                has_stopped = has_stopped or isinstance(delta, Stopped)
    except ProviderError as failure:
        if failure.refuses_streaming:
            return ok(subject, "it does not stream, so its answers come in one piece")
        return failed(subject, _explain(failure), advice_for(failure.code))
    except gevent.Timeout:
        return failed(subject, f"no end within {MODEL_SECONDS:g} s", advice_for("provider_timeout"))
    if not has_stopped:
        return failed(subject, "truncated: the answer has no end", advice_for("truncated"))
    whole = time.monotonic() - began
    shown = f"first text after {first:.2f} s, whole answer after {whole:.2f} s" if first else f"no text, {whole:.2f} s"
    tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens" if usage else "tokens not reported"
    price = _price_of(named, settings)
    place = "; answered on this machine" if is_local(candidate.provider, settings) else ""
    return ok(subject, f"{shown}; {tokens}; {price}{place}")


def _explain(failure: ProviderError) -> str:
    """Return the code, and the provider's own words: the question is ours, so that they quote no user."""
    cause = str(failure.__cause__ or "").strip()
    return f"{failure.code}{f': {cause[:_MAX_SHOWN]}' if cause else ''}"


def _price_of(named: Mapping[str, Candidate], settings: Settings) -> str:
    """Return whether the price is known: under each name, under none, or only under some."""
    names = [name for name, each in named.items() if with_cost(Usage(), each, settings).cost is msgspec.UNSET]
    if not names:
        return "price known"
    return "no price known, so no cost" if len(names) == len(named) else f"no price known as {', '.join(names)}"
