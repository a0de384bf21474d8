"""Pages of runs: they hold the measured numbers where the lines are, and they load nothing."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from test_data import write_csv

pytest.importorskip("matplotlib")

from fastbcd import InputError
from fastbcd.cli.main import main
from fastbcd.plots import save_page

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


def records(T, scale=1.0, every=1):
    """A history with everything that a panel shows, in words of the command line."""
    rows = []
    for t in range(1, T + 1):
        row = {"seconds_V": 1e-3 * scale, "seconds_U": 2e-3, "seconds_W": 3e-3 * scale}
        if t % every == 0:
            row |= {"objective": scale / t, "constraint_gap": scale / t**2}
            row |= {"train_accuracy": 1 - 0.5 / t, "test_accuracy": 1 - 0.6 / t}
            row |= {"subgradient": scale / t, "mean_squared_subgradient": scale / t}
        rows.append({"iteration": t} | row)
    return rows


FEW = [{"iteration": t, "objective": 1 / t, "test_accuracy": 0.8} for t in (1, 2, 3)]
RUNS = {"one": records(6), "two": records(9, scale=2.0, every=3)}


class Page(HTMLParser):
    """The tags of a page, its ids, and its data."""

    def __init__(self, path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags, self.ids, self.links = [], [], []
        self.feed(self.text)
        self.data = json.loads(re.search(r'application/json">(.*?)</script>', self.text)[1])
        self.panels = {panel["name"]: panel for panel in self.data["panels"]}

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if re.search(r"href|src", name)]


def written(runs, folder):
    save_page(runs, folder / "page.html")
    return Page(folder / "page.html")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(RUNS, tmp_path_factory.mktemp("page"))


def test_every_point_of_a_history_has_its_value(page):
    assert [run["name"] for run in page.data["runs"]] == ["one", "two"]
    columns = {
        "objective": ["objective"],
        "accuracy": ["train_accuracy", "test_accuracy"],
        "constraint_gap": ["constraint_gap"],
        "subgradient": ["mean_squared_subgradient", "subgradient"],
    }
    for panel, names in columns.items():
        marks = {mark["id"]: mark for mark in page.panels[panel]["marks"]}
        assert len(marks) == 2 * len(names)
        for name in names:
            power = 2 if name == "subgradient" else 1
            for k, history in enumerate(RUNS.values()):
                rows = [row for row in history if name in row]
                mark = marks[f"{panel}-{name}-run-{k}"]
                assert mark["run"] == k
                assert mark["at"] == [row["iteration"] for row in rows]
                assert mark["text"] == [f"{row[name] ** power:.6g}" for row in rows]
    kinds = [mark["kind"] for mark in page.panels["accuracy"]["marks"]]
    assert kinds == ["train", "test"] * 2
    # Bars: seconds in the unit of the axis, by the names of the blocks.
    times = page.panels["block_times"]
    bars = [mark for mark in times["marks"] if mark["at"]]
    assert times["names"] == ["V", "U", "W"]
    assert [mark["text"] for mark in bars] == [["1"], ["2"], ["3"], ["2"], ["2"], ["6"]]
    assert [mark["at"] for mark in bars] == [[0], [1], [2]] * 2
    # A number above a bar is hidden with it.
    assert len(times["marks"]) == 2 * len(bars)


def test_values_lie_on_the_lines_that_are_drawn(page):
    for name, panel in page.panels.items():
        for mark in panel["marks"]:
            group = page.text[page.text.index(f'<g id="{mark["id"]}"') :]
            if name == "block_times" and mark["at"]:
                x = np.array(re.findall(r"[ML] (\S+) ", group[: group.index("z")]), float)
                y = np.array(re.findall(r"[ML] \S+ (\S+)", group[: group.index("z")]), float)
                assert [(x.min() + x.max()) / 2, y.min()] == pytest.approx(
                    [mark["x"][0], mark["y"][0]], abs=0.02
                )
            elif mark["at"]:
                path = re.search(r'd="(M[^"]*)"', group)[1]
                drawn = np.array(re.findall(r"[ML] (\S+) (\S+)", path), float)
                # matplotlib leaves out points on a straight line.
                own = np.column_stack([mark["x"], mark["y"]])
                assert all(np.abs(own - point).max(axis=1).min() < 0.02 for point in drawn)
                assert np.abs(own[[0, -1]] - drawn[[0, -1]]).max() < 0.02
                assert panel["top"] < own[:, 1].min()
                assert own[:, 1].max() < panel["bottom"]


def test_ids_are_those_of_one_page_and_nothing_is_loaded(page):
    assert len(page.ids) == len(set(page.ids))
    for panel in page.panels.values():
        assert {mark["id"] for mark in panel["marks"]} <= set(page.ids)
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    inner = set(re.findall(r"url\(#(.*?)\)", page.text))
    assert inner <= set(page.ids)
    # Outside of names of namespaces no address occurs.
    addresses = set(re.findall(r'[^"]*"https?://[^"]*"', page.text))
    assert all(re.search(r"(xmlns(:\w+)?=|rdf:resource=)$", a.split('"')[0]) for a in addresses)
    assert "default-src 'none'" in page.text


def test_names_of_runs_are_text_whatever_they_say(tmp_path):
    hostile = ["</script><img src=x onerror=alert(1)>", "{{data}} & $1", "a\udcc3\udcb6\x07"]
    plain = written({"a": FEW, "b": FEW, "c": FEW}, tmp_path)
    page = written(dict.fromkeys(hostile, FEW), tmp_path)
    assert page.tags == plain.tags
    shown = ["</script><img src=x onerror=alert(1)>", "{{data}} & $1", "aö\ufffd"]
    assert [run["name"] for run in page.data["runs"]] == shown
    assert "{{data}} &amp; $1 (test accuracy 0.8000)</button>" in page.text


def test_one_run_has_no_switch_and_one_history_gives_one_page(tmp_path):
    alone = written(FEW, tmp_path)
    assert "button" not in alone.tags
    assert "<h1>run 1 (test accuracy 0.8000)</h1>" in alone.text
    save_page(FEW, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == alone.text


def test_zeros_and_infinities_have_places_only_where_they_are_drawn(tmp_path):
    values = [4.0, 1.0, 0.0, np.inf, np.nan]
    history = [{"iteration": k, "objective": value} for k, value in enumerate(values)]
    (mark,) = written(history, tmp_path).panels["objective"]["marks"]
    assert mark["text"] == ["4", "1", "0"]
    assert mark["y"] == sorted(mark["y"])
    with pytest.raises(InputError, match="run 1: nothing was measured that could be drawn"):
        save_page([{"iteration": 1, "seconds": 0.1}], tmp_path / "none.html")


def test_the_command_writes_a_page_where_the_file_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, scale in (("a", 1.0), ("b", 2.0)):
        Path(name).mkdir()
        Path(name, "config.json").write_text(json.dumps({"gamma": scale}))
        rows = "".join(f"{t},{scale / t}\n" for t in (1, 2, 3))
        write_csv(Path(name, "history.csv"), "iteration,objective\n" + rows)
    assert main(["plot", "a", "b", "--out", "both.HTML"]) == 0
    assert capsys.readouterr().out == "drawn in both.HTML\n"
    page = Page(Path("both.HTML"))
    assert [run["name"] for run in page.data["runs"]] == ["a: gamma 1.0", "b: gamma 2.0"]
    for arguments, message in (
        (["a", "--out", "both.HTML"], "--out: both.HTML exists already; name a new file"),
        (["a", "--out", "x.pdf"], "x.pdf must end in .png or .svg, or in .html for a page"),
        (["a", "--out", "no/x.html"], "--out: no/x.html cannot be written"),
        (["a", "--confusion", "--out", "x.html"], "--out: x.html must end in .png or .svg"),
    ):
        assert main(["plot", *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert message in err
        assert err.count("\n") == 1


ACTIONS = """
const said = [], button = (k) => document.querySelectorAll("#runs button")[k];
const rows = () => values.style.display === "none" ? "" : [...values.children].map((part) =>
  part.rows ? [...part.rows].map((row) => row.cells[1].innerText + "=" + row.cells[2].innerText)
    .join(";") : part.innerText).join(": ");
const point = (name, share) => {
  const box = document.querySelector(`#${name} svg`).getBoundingClientRect();
  document.getElementById(name).dispatchEvent(new PointerEvent("pointermove",
    {clientX: box.left + share * box.width, clientY: box.top + 9}));
};
const shown = () => data.panels.flatMap((panel) => panel.marks).filter((mark) =>
  getComputedStyle(document.getElementById(mark.id)).display !== "none").map((mark) => mark.run);
const say = (text) => said.push(text);
const pressed = () => [0, 1].map((k) => button(k).ariaPressed);
const key = (name, key) =>
  document.getElementById(name).dispatchEvent(new KeyboardEvent("keydown", {key}));
point("objective", 0.99); say(rows());
point("accuracy", 0.01); say(rows());
point("block_times", 0.99); say(rows());
key("constraint_gap", "ArrowRight"); say(rows());
key("constraint_gap", "ArrowRight"); say(rows());
key("constraint_gap", "ArrowLeft"); say(rows());
say([...new Set(shown())].join() + pressed());
button(0).click(); say(rows() + [...new Set(shown())].join() + pressed());
point("objective", 0.65); say(rows());
button(0).click(); say([...new Set(shown())].join() + pressed());
button(0).dispatchEvent(new MouseEvent("dblclick")); say([...new Set(shown())].join() + pressed());
button(0).dispatchEvent(new MouseEvent("dblclick")); say([...new Set(shown())].join() + pressed());
document.title = "said " + JSON.stringify(said);
"""


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_in_a_browser_runs_are_switched_and_values_shown(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(page.text.replace("</body>", f"<script>{ACTIONS}</script></body>"))
    options = ["--headless", "--no-sandbox", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [BROWSER, *options, "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    title = re.search(r"<title>said (.*?)</title>", done.stdout)
    assert title, done.stderr
    assert json.loads(title[1]) == [
        "iteration 9: one (iteration 6)=0.166667;two=0.222222",
        "iteration 1: one, train=0.5;one, test=0.4;"
        "two, train (iteration 3)=0.833333;two, test (iteration 3)=0.8",
        "block W: one=3;two=6",
        "iteration 1: one=1;two (iteration 3)=0.222222",
        "iteration 2: one=0.25;two (iteration 3)=0.222222",
        "iteration 1: one=1;two (iteration 3)=0.222222",
        "0,1true,true",
        "1false,true",
        "iteration 6: two=0.333333",
        "0,1true,true",
        "0true,false",
        "0,1true,true",
    ]
