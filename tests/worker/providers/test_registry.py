"""Each provider in use is made once, under its own name."""

import pytest

from millrace.worker.providers.registry import FACTORIES, make_providers
from millrace.worker.settings.catalog import PROVIDER_NAMES
from millrace.worker.settings.schema import Settings

SETTINGS = Settings.of(openai_api_key="k", gemini_api_key="k", anthropic_api_key="k", rlm_url="http://127.0.0.1:9/rlm")


def test_each_factory_makes_a_provider_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    assert FACTORIES.keys() <= {*PROVIDER_NAMES}
    for name, provider in make_providers(SETTINGS.replace(providers=tuple(FACTORIES)), concurrency=1).items():
        assert provider.name == name
        provider.close()
