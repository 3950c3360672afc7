"""Everything that a page names exists: files, links, settings, routes, modules, metrics, tests, flags."""

import ast
import importlib.util
import re
from pathlib import Path

from tests.docs.pages import ROOT, anchors, named, names_in, pages, prose, quoted, read

PAGES = pages()
TESTS = {
    node.name
    for path in (ROOT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
}
SOURCES = [
    path
    for room in ("webapp", "worker", "deploy", "tests")
    for kind in ("*.py", "*.lua", "*.js", "*.ts")
    for path in (ROOT / room).rglob(kind)
    if path.parent != Path(__file__).parent
]
ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
WORDS = {word for path in (*SOURCES, ALERTS) for word in re.findall(r"\w+", path.read_text("utf-8"))}
THEIRS = {
    *("EventSource", "ConverseStream", "HttpOnly"),
    *("proxy_buffering", "proxy_set_header", "large_client_header_buffers", "max_fails"),
    *("aconnect_sse", "aiter_sse", "iter_sse", "sequence_number", "stream_resumable"),
}
"""Names of others."""
REGISTRIES = re.compile(r"//(?:[\w-]+\.)*(?:pypi|pythonhosted|npmjs|docker|crates)\.(?:org|com|io)\b")
MOST_README_BYTES = 8192
MOST_SCREENSHOT_BYTES = 150 * 1024


def test_readme_fits_two_screens_and_has_its_pictures() -> None:
    readme = read(ROOT / "README.md")
    assert len(readme.encode()) <= MOST_README_BYTES
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert {Path(picture).suffix for picture in pictures} == {".svg", ".png"}
    for picture in pictures:
        assert (ROOT / picture).stat().st_size <= MOST_SCREENSHOT_BYTES


def test_index_links_every_page() -> None:
    index = ROOT / "webapp/docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert set(PAGES) - linked == {index}


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for link in links(page):
            if link.startswith("https://"):
                assert not REGISTRIES.search(link), f"{named(page)}: {link}"
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{named(page)}: {link}"
            assert not anchor or anchor in anchors(target), f"{named(page)}: {link}"


def test_every_file_that_a_page_names_exists() -> None:
    for page in PAGES:
        for path in re.findall(r"(?<![\w./-])(?:webapp|worker|deploy|tests|\.github)/[\w./-]*\w[\w./-]*", read(page)):
            assert (ROOT / path.rstrip(".")).exists(), f"{named(page)}: {path}"


def test_every_setting_that_a_page_names_exists() -> None:
    for page in PAGES:
        unknown = set(re.findall(r"\b(?:MILLRACE|BEDROCK)_[A-Z_]*[A-Z]\b", read(page))) - set(names_in("settings"))
        assert not unknown, f"{named(page)}: {unknown}"


def test_every_route_that_a_page_names_exists() -> None:
    known = [each.partition(" ")[::2] for each in names_in("routes")]
    request = re.compile(r"(?:(GET|POST|PUT|PATCH|DELETE) )?(/(?:api|healthz|readyz|metrics)[^\s?]*)(?:\?\S*)?")
    for page in PAGES:
        for text in (*quoted(page), *re.findall(r"\$base(/api/[^\s\"'?]*)", read(page))):
            found = request.fullmatch(text)
            assert found is None or any(
                found[1] in (None, method) and re.fullmatch(re.sub(r"\b[A-Z]+\b", "[^/]+", path), found[2])
                for method, path in known
            ), f"{named(page)}: {text}"


def test_every_module_that_a_page_names_exists() -> None:
    for page in PAGES:
        for module, name in re.findall(r"\b(millrace\.(?:webapp|worker)(?:\.[a-z_]\w*)*)(?::(\w+))?", read(page)):
            path = ROOT.joinpath(*module.split(".")[1:])
            source = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
            assert source.exists(), f"{named(page)}: {module}"
            assert not name or re.search(rf"\b{name}\b", source.read_text("utf-8")), f"{named(page)}: {module}:{name}"
        for module in re.findall(r"-m ((?:deploy|tests)(?:\.\w+)*)", read(page)):
            assert importlib.util.find_spec(module) is not None, f"{named(page)}: {module}"


FORMER_METRICS = {
    f"millrace_{name}"
    for name in ("requests_total", "request_seconds", "messages_total", "streams_ended_total", "running")
} | {"millrace_generations_total"}
"""Names of earlier versions, which the changelog says are others now."""


def test_every_metric_script_test_and_class_that_a_page_names_exists() -> None:
    for page in PAGES:
        for name in quoted(page):
            if re.fullmatch(r"millrace_[a-z_]+", name):
                is_former = named(page) == "deploy/CHANGELOG.md" and name in FORMER_METRICS
                assert is_former or name in names_in("metrics"), f"{named(page)}: {name}"
            if re.fullmatch(r"\w+\.lua", name):
                assert (ROOT / "worker/contract/lua" / name).exists(), f"{named(page)}: {name}"
            if re.fullmatch(r"test_\w+", name):
                assert name in TESTS, f"{named(page)}: {name}"
            if found := re.fullmatch(r"((?:[A-Z][a-z]+){2,})(?:\.\w+)?", name):
                assert found[1] in WORDS | THEIRS, f"{named(page)}: {name}"


def test_every_name_of_the_code_that_a_page_quotes_is_used_there() -> None:
    known = WORDS | THEIRS | {*names_in("metrics")} | FORMER_METRICS
    for page in PAGES:
        for text in quoted(page):
            unknown = set(re.findall(r"(?<![\w./-])[a-z]+(?:_[a-z]+)+\b(?!\.)", text)) - known
            assert not unknown, f"{named(page)}: {unknown}"


def test_every_code_that_a_page_names_exists() -> None:
    codes = {*names_in("problems"), *names_in("error-codes")}
    for page in PAGES:
        for text in quoted(page):
            found = re.fullmatch(r"(?:error|[45]\d\d) ([a-z_]+)", text)
            assert found is None or found[1] in codes, f"{named(page)}: {text}"
        for code in re.findall(r"\b[45]\d\d `([a-z_]+)`", prose(page)):
            assert code in codes, f"{named(page)}: {code}"


def test_every_field_of_a_request_for_an_answer_is_documented() -> None:
    tree = ast.parse((ROOT / "webapp/generation/validation.py").read_text("utf-8"))
    classes = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name.endswith("Fields")]
    fields = {getattr(each.target, "id", "") for one in classes for each in one.body if isinstance(each, ast.AnnAssign)}
    table = read(ROOT / "webapp/docs/http-api.md").partition("## Asking\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(fields)


def test_every_flag_of_a_command_is_documented() -> None:
    sources = (ROOT / "deploy").rglob("*.py")
    flags = {
        flag for path in sources for flag in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text("utf-8"))
    }
    assert len(flags) >= 8
    documented = read(ROOT / "deploy/docs/running.md") + read(ROOT / "deploy/docs/capacity.md")
    documented += read(ROOT / "deploy/docs/redis.md")
    assert not [flag for flag in flags - {"--host"} if flag not in documented]


def test_every_scenario_of_the_bench_is_documented() -> None:
    table = read(ROOT / "deploy/docs/benchmarks.md").partition("## Scenarios")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(path.stem for path in (ROOT / "tests/bench/results").glob("*.json"))


def test_path_of_an_answer_is_drawn_in_order() -> None:
    section = read(ROOT / "worker/docs/architecture.md").partition("## The path of an answer")[2]
    drawing = section.partition("```text")[2]
    places = [drawing.index(word) for word in ("POST", "webapp", "Celery", "ConverseStream", "XADD")]
    assert places == sorted(places)
