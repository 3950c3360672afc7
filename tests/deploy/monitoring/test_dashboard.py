"""The dashboard is what its source says, and asks only for metrics that exist."""

from typing import Any

from deploy.monitoring.dashboard import PATH, ROWS, dashboard, main, text
from tests.deploy.monitoring.names import check_query, known_metrics


def panels() -> list[dict[str, Any]]:
    return [each for each in dashboard()["panels"] if each["type"] != "row"]


def test_file_is_up_to_date() -> None:
    assert PATH.read_text("utf-8") == text(), "run python3 -m deploy.monitoring.dashboard --write"
    assert main([]) == 0


def test_every_query_names_metrics_and_labels_that_exist() -> None:
    for row in ROWS:
        for panel in row.panels:
            for query, _ in panel.queries:
                check_query(query.replace("$__rate_interval", "5m"))


def test_panels_have_places_of_their_own() -> None:
    taken = set[tuple[int, int]]()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert len({each["id"] for each in dashboard()["panels"]}) == len(dashboard()["panels"])


def test_most_metrics_are_on_the_dashboard() -> None:
    queries = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    names = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in known_metrics()}
    missing = {name for name in names if name not in queries}
    assert len(missing) < len(names) / 3, missing
