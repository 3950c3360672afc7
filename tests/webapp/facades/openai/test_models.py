from collections.abc import Callable

from tests.webapp.facades.openai.frames import check_error
from tests.webapp.harness import WebHarness, json_of


def test_models_are_those_that_requests_may_name(build: Callable[..., WebHarness]) -> None:
    site = build(model_id="one", allowed_models=("maker/two:free",))
    listed = json_of(site.user.get("/v1/models"))
    assert listed["object"] == "list"
    assert [each["id"] for each in listed["data"]] == ["one", "maker/two:free"]
    assert {(each["object"], each["owned_by"], type(each["created"])) for each in listed["data"]} == {
        ("model", "millrace", int)
    }
    for each in listed["data"]:
        assert json_of(site.user.get(f"/v1/models/{each['id']}")) == each
    error = check_error(site.user.get("/v1/models/three"), 404, "model_not_found", "model")
    assert "one, maker/two:free" in error["message"]
