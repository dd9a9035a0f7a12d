"""Every query of every panel gives data while a node does all that it can: asked of a real Prometheus."""

from collections.abc import Iterator, Mapping
from typing import Final

import pytest

from tests.dashboards import filled, queries
from tests.mixed_run import MixedRun, mixed_run
from tests.peers import wait_until, which_or_skip
from tests.prometheus_server import says_something
from tests.scaled_rules import scaled

pytestmark = pytest.mark.peers
# What a run of half a minute cannot show, and why.
EXCEPTIONS: Final[Mapping[str, str]] = {
    "gpu.json": "needs NVIDIA's dcgm-exporter and a GPU",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MixedRun]:
    which_or_skip("prometheus")
    folder = tmp_path_factory.mktemp("mixed")
    with mixed_run(folder, rule_files=scaled(folder / "rules", lasting=1 / 600, reach=1 / 60)) as made:
        yield made


def test_every_query_of_every_panel_gives_data(run: MixedRun) -> None:
    silent = []
    asked = 0
    for query in queries():
        if query.place.split(":")[0] in EXCEPTIONS:
            continue
        asked += 1
        found = run.prometheus.over(filled(query.expression, rate="10s"), since=run.began)
        if not says_something(found):
            silent.append(query.place)

    assert asked > 90
    assert silent == []


def test_a_query_about_what_is_not_there_gives_none(run: MixedRun) -> None:
    found = run.prometheus.over(filled('imaging_node_jobs{state="lost", instance=~"$instance"}'), since=run.began)

    assert not says_something(found)


def test_exceptions_give_no_data_indeed(run: MixedRun) -> None:
    """Else they would be none."""
    for query in queries():
        if query.place.split(":")[0] in EXCEPTIONS:
            assert not says_something(run.prometheus.over(filled(query.expression), since=run.began)), query.place


def test_the_glance_answers_what_waits_what_failed_and_why(run: MixedRun) -> None:
    def rows(title: str, letter: str = "A") -> dict[tuple[str, ...], float]:
        (query,) = [one for one in queries() if one.place == f"at-a-glance.json: {title}: {letter}"]
        found = run.prometheus.instant(filled(query.expression))
        return {tuple(value for _, value in sorted(labels.items())): values[-1][1] for labels, values in found}

    failed = rows("What failed, and why")
    assert failed["ct-denoise", "hounsfield_scale", "held"] == 1
    assert {destination: up for (destination,), up in rows("Destinations").items()} == {"archive": 1, "mirror": 0}
    assert rows("Destinations", "B")[("mirror",)] == 16
    assert rows("What waits, and where")[("deliver",)] == 1
    wait_until("the alert is in the list", lambda: ("ImagingNodeDestinationDown", "page") in rows("Alerts"))
    assert rows("Stopped now")[()] == sum(failed.values())
