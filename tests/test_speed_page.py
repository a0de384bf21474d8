"""The page of the site with what asv measured: its numbers, its points, no page without any."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parents[1] / "docs" / "_site"))

import speed

BENCHMARKS = {
    "counts.Counts.track_bytes": {
        "params": [["'step'", "'batch'"], ["1", "2"]],
        "param_names": ["of", "n"],
        "unit": "bytes",
    },
    "solves.Ridge.time_factor": {"params": [], "param_names": [], "unit": "seconds"},
    "solves.Ridge.time_solve": {"params": [], "param_names": [], "unit": "seconds"},
    "solves.Ridge.track_calls": {"params": [], "param_names": [], "unit": "calls & more"},
}
GRAPHS = {
    "counts.Counts.track_bytes": [[4, [2e6, None, 512, 0]], [9, [1e6, float("nan"), 512, 3]]],
    "solves.Ridge.time_factor": [[4, 0.002], [7, None], [9, 0.0025]],
    "solves.Ridge.track_calls": [[4, 956]],
}


@pytest.fixture
def published(tmp_path):
    """A folder as `asv publish` writes it."""
    folder = tmp_path / "html"
    machine = folder / "graphs" / "branch-main" / "machine-<b>"
    for place in (machine, folder / "graphs" / "summary"):
        place.mkdir(parents=True)
        for name, points in GRAPHS.items():
            (place / f"{name}.json").write_text(json.dumps(points))
    index = {
        "benchmarks": BENCHMARKS,
        "hash_length": 8,
        "revision_to_hash": {"4": "a" * 40, "7": "b" * 40, "9": "c" * 40},
        "revision_to_date": {"4": 0, "7": 86400000, "9": 2 * 86400000},
    }
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def rows(page):
    """Text of the cells of each row, without its picture."""
    found = re.findall(r"<tr>(<td>.*?)</tr>", page)
    return [
        [re.sub(r"<svg.*</svg>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)]
        for row in found
    ]


def test_a_row_has_the_oldest_and_the_newest_value(published):
    page = speed.body(published)
    assert rows(page) == [
        ["Counts.track_bytes<br>of step, n 1", "", "2 MB", "1 MB", "0.500"],
        ["Counts.track_bytes<br>of batch, n 1", "", "512 B", "512 B", "1.000"],
        ["Counts.track_bytes<br>of batch, n 2", "", "0 B", "3 B", ""],
        ["Ridge.time_factor", "", "2 ms", "2.5 ms", "1.250"],
        ["Ridge.track_calls<br>in calls &amp; more", "", "956", "956", "1.000"],
    ]
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Machine &lt;b&gt;"]
    assert "<p>branch main, machine &lt;b&gt;</p>" in page
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["counts", "solves"]


def test_a_picture_has_a_point_for_each_commit_that_was_measured(published):
    *_, drawn, single = re.findall(r"<svg.*?</svg>", speed.body(published))
    assert len(ElementTree.fromstring(single).findall("circle")) == 1
    svg = ElementTree.fromstring(drawn)
    circles = svg.findall("circle")
    assert [circle.find("title").text for circle in circles] == [
        "aaaaaaaa, 1970-01-01: 2 ms",
        "cccccccc, 1970-01-03: 2.5 ms",
    ]
    places = [f"{circle.get('cx')},{circle.get('cy')}" for circle in circles]
    assert svg.find("polyline").get("points").split() == places
    # From the lower left to the upper right corner.
    assert places == ["5.0,29.0", "145.0,5.0"]


def test_the_site_has_the_page_and_its_link_only_with_results(published, tmp_path):
    noted = []
    app = SimpleNamespace(
        config=SimpleNamespace(asv_pages=str(published)),
        env=SimpleNamespace(note_dependency=noted.append),
        outdir=str(tmp_path / "site"),
    )
    regressions, other = ["# Title"], ["# Other"]
    speed.link(app, "regressions", regressions)
    speed.link(app, "runs", other)
    assert 'href="speed.html"' in regressions[0]
    assert other == ["# Other"]
    assert noted == [str(published / "index.json")]
    ((name, context, template),) = speed.collect(app)
    assert (name, template) == ("speed", "page.html")
    assert context["body"] == speed.body(published)
    assert (tmp_path / "site" / "asv" / "index.json").exists()

    (published / "index.json").unlink()
    without = ["# Title"]
    speed.link(app, "regressions", without)
    assert without == ["# Title"]
    assert list(speed.collect(app)) == []
