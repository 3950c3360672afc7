"""The models that requests may name."""

from collections.abc import Callable

from tests.webapp.harness import WebHarness, check_problem, json_of


def test_models_are_those_that_requests_may_name_and_the_default_is_marked(build: Callable[..., WebHarness]) -> None:
    site = build(model_id="one", allowed_models=("maker/two:free",))
    listed = json_of(site.user.get("/api/models"))
    assert listed["default"] == "one"
    assert [(each["name"], each["is_default"]) for each in listed["models"]] == [
        ("one", True),
        ("maker/two:free", False),
    ]
    assert all(each["context_tokens"] >= 1000 for each in listed["models"])
    for each in listed["models"]:
        assert site.post({"message": "a", "model": each["name"]}).status_code == 202
    check_problem(site.post({"message": "a", "model": "three"}), 422, "invalid_field", "model")


def test_models_need_credentials_where_requests_need_them(build: Callable[..., WebHarness]) -> None:
    site = build(auth="header", auth_header="X-Remote-User")
    check_problem(site.user.get("/api/models"), 401, "unauthorized")
    assert site.user.get("/api/models", headers={"X-Remote-User": "ada"}).status_code == 200
