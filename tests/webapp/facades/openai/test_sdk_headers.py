from collections.abc import Callable

import pytest

from millrace.webapp.facades.openai.sdk_headers import SDK_HEADERS
from tests.webapp.harness import WebHarness

OURS = "https://app.example"


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/chat/completions", "/v1/chat/completions/x/cancel", "/v1/responses", "/v1/other"]
)
def test_page_of_an_allowed_origin_may_send_the_headers_of_the_sdk(build: Callable[..., WebHarness], path: str) -> None:
    site = build(allowed_origins=(OURS,))

    def allowed(path: str, origin: str = OURS) -> str:
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = site.user.options(path, headers=headers)
        assert answer.status_code == 204
        return answer.headers.get("Access-Control-Allow-Headers", "")

    assert set(SDK_HEADERS) < set(allowed(path).split(", "))
    assert "Authorization" in allowed(path)
    assert not set(SDK_HEADERS) & set(allowed("/api/generations").split(", ")), "other routes are as they were"
    assert not allowed(path, "https://evil.example")
