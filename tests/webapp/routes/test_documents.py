import re
from pathlib import Path

from millrace.webapp.routes.documents import routes
from tests.webapp.harness import WebHarness

ROOT = Path(__file__).parent.parent.parent.parent
SCRIPTS = sorted((ROOT / "webapp/static").rglob("*.js"))
MARKUP = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\("


def test_page_runs_only_its_own_files(site: WebHarness) -> None:
    answer = site.user.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert not re.search(r"\son\w+=", answer.text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))
    assert routes.name == "documents"


def test_files_referenced_by_the_page_exist_and_have_relative_addresses(site: WebHarness) -> None:
    found = re.findall(r'(?:src|href)="([^"]*)"', site.user.get("/").text)
    assert len(found) >= 4
    for path in found:
        assert path.startswith("static/"), "a proxy may serve the page below a path"
        assert site.user.get(f"/{path}", buffered=True).status_code == 200, path


def test_scripts_request_only_relative_addresses(site: WebHarness) -> None:
    for script in SCRIPTS:
        text = re.sub(r"^\s*(//|/?\*).*", "", script.read_text("utf-8"), flags=re.MULTILINE)  # without comments
        for other in ("http://www.w3.org/2000/svg", '"/events"'):  # a name, and the end of an address
            text = text.replace(other, "")
        assert not re.search(r"""["'`](/[^"'`]|https?:/)""", text), script


def test_scripts_never_turn_text_into_markup() -> None:
    for script in SCRIPTS:
        assert not re.search(MARKUP, script.read_text("utf-8")), script


def test_visit_of_the_page_renews_the_owners_cookie(site: WebHarness) -> None:
    generation = site.ask()
    assert f"{site.cookie_name}=" in site.user.get("/").headers["Set-Cookie"]
    assert "Set-Cookie" not in site.stranger().get("/").headers
    assert site.user.get(f"/api/generations/{generation}").status_code == 200
