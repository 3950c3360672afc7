from millrace.webapp.facades.openai.responses.kept_history import MAX_CHARS, keep_history
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.request import ModelRequest, PromptMessage
from tests.webapp.facades.openai.responses.logs import own
from tests.webapp.harness import WebHarness, json_of


def test_messages_outlive_the_request(site: WebHarness) -> None:
    given = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    response = json_of(site.user.post("/v1/responses", json={"input": given, "background": True}))
    path = f"/v1/responses/{response['id']}/input_items"
    before = json_of(site.user.get(path))
    site.redis.hdel(keys_of(own(response)).state, "request")
    assert json_of(site.user.get(path)) == before
    assert [each["content"][0]["text"] for each in before["data"]] == ["user", "assistant", "user"]


def test_long_messages_are_not_kept() -> None:
    messages = [PromptMessage("user", "a" * MAX_CHARS)]
    assert keep_history(ModelRequest(messages, "m", 1)) == {"history": [{"role": "user", "content": "a" * MAX_CHARS}]}
    assert keep_history(ModelRequest([*messages, PromptMessage("assistant", "b")], "m", 1)) == {}
