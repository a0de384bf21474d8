"""Pictures: the Axes hold the measured numbers, and errors explain what cannot be drawn."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from command import fastbcd_process, history
from matplotlib import image, pyplot
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from test_certificate import data
from test_data import write_csv

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting
from fastbcd.callbacks import Accuracy, BlockTimes, Certify, Objective
from fastbcd.cli.main import main
from fastbcd.plots import (
    plot_accuracy,
    plot_block_times,
    plot_confusion,
    plot_constraint_gap,
    plot_objective,
    plot_runs,
    plot_subgradient,
    read_runs,
    save_picture,
)
from fastbcd.plots.style import COLOURS


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def results():
    X, Y = data(n=100)
    labels = Y.argmax(axis=1)

    def fit(solver, *more):
        measured = [
            Objective(),
            Accuracy("train", X, labels),
            Accuracy("test", X[::3], labels[::3]),
        ]
        return solver.fit(X, Y, max_iter=30, callbacks=[*measured, BlockTimes(), *more])

    return {
        "three": fit(ThreeSplitting(Problem((4, 8, 8, 3))), Certify(2)),
        "two": fit(TwoSplitting(Problem((4, 8, 3)))),
        "batches": fit(MiniBatchThreeSplitting(Problem((4, 8, 3)), 20)),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs of the command line: with a certificate, without one, in batches."""
    where = tmp_path_factory.mktemp("runs")
    for name, options in {
        "certified": ["--batch-size", "full", "--certify", "2", "--epochs", "12"],
        "tanh": [
            "--batch-size",
            "full",
            "--activation",
            "tanh",
            "--epochs",
            "5",
            "--evaluate-every",
            "2",
        ],
        "batches": ["--batch-size", "100", "--epochs", "3"],
    }.items():
        out = ["--hidden", "8", "--quiet", "--out", str(where / name)]
        assert main(["train", *options, *out]) == 0
    return where


def lines_of(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def column(history, name):
    return [(record["iteration"], record[name]) for record in history if name in record]


def points(line):
    return [tuple(point) for point in np.transpose(line.get_data())]


@pytest.mark.parametrize(
    ("draw", "name"), [(plot_objective, "objective"), (plot_constraint_gap, "constraint_gap")]
)
def test_curves_are_the_history_on_a_logarithmic_axis(results, draw, name):
    ax = draw(results)
    assert ax.get_yscale() == "log"
    drawn = lines_of(ax)
    with_gap = {"three", "two"}
    assert set(drawn) == (set(results) if name == "objective" else with_gap)
    for run, line in drawn.items():
        assert points(line) == column(results[run].history, name)
    assert "log scale" in ax.get_ylabel()
    assert ax.get_xlabel() == "iteration"
    assert {text.get_text() for text in ax.get_legend().get_texts()} == set(drawn)


def test_accuracy_is_dashed_for_training_and_solid_for_test_samples(results):
    ax = plot_accuracy(results["three"].history)
    (train,) = (line for line in ax.get_lines() if line.get_linestyle() == "--")
    (test,) = (line for line in ax.get_lines() if line.get_linestyle() == "-")
    assert points(train) == column(results["three"].history, "train_accuracy")
    assert points(test) == column(results["three"].history, "test_accuracy")
    legend = ax.get_legend()
    kinds = zip(legend.get_texts(), legend.get_lines(), strict=True)
    assert {text.get_text(): line.get_linestyle() for text, line in kinds} == {
        "train": "--",
        "test": "-",
    }
    several = plot_accuracy({"a": results["three"].history, "b": results["two"]})
    assert [text.get_text() for text in several.get_legend().get_texts()] == ["a", "b"]


def test_subgradients_have_their_mean_and_a_line_of_slope_minus_one(results):
    records = results["three"].history
    ax = plot_subgradient({"three": records})
    drawn = lines_of(ax)
    assert points(drawn["three"]) == column(records, "mean_squared_subgradient")
    squares = [(t, norm**2) for t, norm in column(records, "subgradient")]
    np.testing.assert_allclose(points(drawn["_square three"]), squares)
    T, rate = drawn["_rate"].get_data()
    assert (T[0], rate[0]) == column(records, "mean_squared_subgradient")[0]
    assert T[-1] == 30
    assert np.log(rate[-1] / rate[0]) / np.log(T[-1] / T[0]) == pytest.approx(-1)
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert {text.get_text() for text in ax.texts} == {"mean up to T", "O(1/T)", "|g|² at T"}


def test_block_times_are_medians_without_the_iteration_that_compiles(results):
    ax = plot_block_times(results)
    bars = {bars.get_label(): [bar.get_height() for bar in bars] for bars in ax.containers}
    for name, result in results.items():
        columns = ["seconds_V", "seconds_U", "seconds_W"]
        if name == "two":
            columns.remove("seconds_U")
        medians = [np.median([record[key] for record in result.history]) for key in columns]
        assert bars[name] == pytest.approx(medians)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["V", "U", "W"]
    assert "milliseconds" in ax.get_ylabel()
    ax.figure.draw_without_rendering()
    shown = [float(tick.get_text()) for tick in ax.get_yticklabels()]
    assert shown == pytest.approx(1e3 * ax.get_yticks(), rel=1e-5)


def test_runs_differ_by_colour_and_by_marker_and_letters_are_large_enough(results):
    figure = Figure(layout="constrained")
    axes = plot_runs(results, figure)
    assert list(axes) == ["objective", "accuracy", "constraint_gap", "subgradient", "block_times"]
    drawn = lines_of(axes["objective"])
    colours = [to_hex(line.get_color()) for line in drawn.values()]
    assert colours == [to_hex(colour) for colour in COLOURS[:3]]
    assert len({line.get_marker() for line in drawn.values()}) == 3
    (legend,) = figure.legends
    assert [text.get_text().split(" (")[0] for text in legend.get_texts()] == list(results)
    figure.draw_without_rendering()
    texts = [text for ax in axes.values() for text in ax.findobj(pyplot.Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 10
    for ax in axes.values():
        assert to_hex(ax.get_facecolor()) == "#ffffff"
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert ax.get_title(loc="left")


def test_axes_of_ones_own_are_used_and_settings_of_matplotlib_stay(results):
    before = dict(pyplot.rcParams)
    _, ax = pyplot.subplots()
    assert plot_objective(results, ax=ax, legend=False) is ax
    assert ax.get_legend() is None
    assert dict(pyplot.rcParams) == before


def test_panels_without_data_are_left_out(results):
    assert list(plot_runs(results["batches"])) == ["objective", "accuracy", "block_times"]
    only = [{"iteration": 1, "seconds": 0.1, "objective": 2.0}]
    assert list(plot_runs(only)) == ["objective"]
    with pytest.raises(InputError, match="run 1: nothing was measured that could be drawn"):
        plot_runs([{"iteration": 1, "seconds": 0.1}])
    with pytest.raises(InputError, match="two: mean_squared_subgradient .*--certify"):
        plot_subgradient({"two": results["two"]})


def test_one_iteration_zeros_and_infinities_are_drawn():
    one = [{"iteration": 1, "objective": 2.0, "subgradient": 3.0, "mean_squared_subgradient": 9.0}]
    axes = plot_runs(one)
    (line,) = axes["objective"].get_lines()
    assert points(line) == [(1, 2.0)]
    assert line.get_marker() == "o"
    values = [4.0, 1.0, 0.0, np.inf, np.nan]
    ax = plot_objective([{"iteration": k, "objective": v} for k, v in enumerate(values)])
    assert ax.get_yscale() == "symlog"
    assert "linear around 0" in ax.get_ylabel()
    assert points(ax.get_lines()[0]) == [(0, 4.0), (1, 1.0), (2, 0.0)]


def test_a_folder_gives_what_its_files_hold(folders):
    axes = plot_runs(folders / "certified", Figure(layout="constrained"))
    rows = history(folders / "certified")
    (line,) = axes["objective"].get_lines()
    assert points(line) == [(int(row["iteration"]), float(row["objective"])) for row in rows]
    title = axes["objective"].figure.get_suptitle()
    assert title.startswith("certified: three-splitting, hidden 8, relu, squared")
    # Rows in which nothing was evaluated have no point.
    (line,) = plot_objective(folders / "tanh").get_lines()
    assert line.get_xdata().tolist() == [2, 4, 5]


def test_compared_runs_are_named_by_the_options_in_which_they_differ(folders):
    names = [run.name for run in read_runs([folders / "certified", folders / "tanh"])]
    assert names == ["certified: relu", "tanh: tanh"]
    names = [run.name for run in read_runs([folders / "certified", folders / "batches"])]
    assert names == ["certified: batch size full", "batches: batch size 100"]


def test_the_command_draws_one_run_and_several(folders, tmp_path, capsys, monkeypatch):
    target = folders / "certified" / "plot.png"
    out, err = fastbcd_process("plot", folders / "certified", cwd=tmp_path, env={"DISPLAY": ""})
    assert (out, err) == (f"drawn in {target}\n", "")
    pixels = image.imread(target)
    assert pixels.shape[0] >= 900
    assert pixels.shape[1] >= 1800
    assert pixels[0, 0, :3].tolist() == [1, 1, 1]
    target.write_bytes(b"")
    assert main(["plot", str(folders / "certified")]) == 0  # a run goes on, and is drawn anew
    assert (image.imread(target) == pixels).all()
    assert not pyplot.get_fignums()  # no window, even where there could be one
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    for k in (1, 2):
        assert main(["plot", str(folders / "certified"), str(folders / "tanh")]) == 0
        assert capsys.readouterr().out == f"drawn in plot-{k}.png\n"
        assert (tmp_path / f"plot-{k}.png").is_file()


def test_svgs_are_the_same_every_time(results, tmp_path):
    for name in ("a.svg", "b.svg"):
        figure = Figure(layout="constrained")
        plot_runs(results, figure)
        save_picture(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg")
    assert "<!-- Objective -->" in (tmp_path / "a.svg").read_text()
    assert "O(1/T)" in (tmp_path / "a.svg").read_text()


def complaint(capsys, *arguments):
    assert main(["plot", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_drawn_says_why(folders, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    assert "is not a run folder: it has no history.csv" in complaint(capsys, run)
    (run / "config.json").write_text("{}")
    header = "iteration,seconds,objective\n"
    for content, message in (
        ("", "is not the history of a run: it has no column 'iteration'"),
        ("a,b\n1,2\n", "is not the history of a run: it has no column 'iteration'"),
        (header, "has no rows yet"),
        (f"{header}1,0.5", "has no rows yet"),
        (f"{header}1,0.5,2\n2,0.6\n3,0.7,1\n", "line 3: 2 fields, but the header has 3"),
        (f"{header}1,0.5,2\n2,0.6,x\n", "line 3: objective is 'x', which is no number"),
        (f"{header}1,0.5,\n", "nothing was measured that could be drawn"),
    ):
        (run / "history.csv").write_text(content)
        assert message in complaint(capsys, run)
        if "nothing" not in message:  # one damaged run of two, too
            assert message in complaint(capsys, folders / "tanh", run)
    (run / "history.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be used" in complaint(capsys, run)
    (run / "history.csv").write_text(f"{header}1,0.5,2\n")
    (run / "config.json").write_text("{")
    assert "cannot be used" in complaint(capsys, run)
    assert "is a file" in complaint(capsys, run / "history.csv")
    assert "has no history.csv" in complaint(capsys, tmp_path / "nowhere")


def test_a_row_that_is_being_written_is_left_out(folders, tmp_path):
    for name in ("config.json", "history.csv"):
        (tmp_path / name).write_bytes((folders / "certified" / name).read_bytes())
    with (tmp_path / "history.csv").open("a") as file:
        file.write("13,0.123,0.4")
    assert read_runs(tmp_path)[0].columns["iteration"].tolist() == list(range(1, 13))


def test_out_names_a_new_png_or_svg(folders, tmp_path, capsys):
    run = folders / "certified"
    assert main(["plot", str(run), "--out", str(tmp_path / "a.svg")]) == 0
    capsys.readouterr()
    assert "a.svg exists already; name a new file" in complaint(
        capsys, run, "--out", tmp_path / "a.svg"
    )
    assert "a.pdf must end in .png or .svg" in complaint(capsys, run, "--out", tmp_path / "a.pdf")
    assert "cannot be written" in complaint(capsys, run, "--out", tmp_path / "no" / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg"]


@pytest.mark.parametrize("runs", [3, None, [], {}, [3], ["a", [1, 2]], [{}]])
def test_what_is_no_run_is_refused(runs):
    with pytest.raises(InputError, match="needed|no history|no 'iteration'|no rows"):
        plot_objective(runs)
    with pytest.raises(InputError, match="holds something that is not a number"):
        plot_objective([{"iteration": 1, "objective": "two"}])


def test_without_matplotlib_an_error_says_what_to_install(folders, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "pip install 'fastbcd[plot]'" in complaint(capsys, folders / "certified")
    with pytest.raises(InputError, match="pictures need matplotlib"):
        plot_objective([{"iteration": 1, "objective": 1.0}])


def counts_in(ax):
    """Numbers in a confusion matrix by (row, column)."""
    return {
        (round(y), round(x)): int(text.get_text())
        for text in ax.texts
        for x, y in [text.get_position()]
    }


def test_confusion_counts_true_classes_in_rows():
    labels, predicted = list("aaaabbc"), list("aaabbca")
    ax = plot_confusion(labels, predicted, classes=list("abcd"))
    assert counts_in(ax) == {(0, 0): 3, (0, 1): 1, (1, 1): 1, (1, 2): 1, (2, 0): 1}
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list("abcd")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title(loc="left") == "accuracy 0.5714: 4 of 7 samples"
    shares = ax.get_images()[0].get_array()
    assert shares[0].tolist() == [0.75, 0.25, 0, 0]
    assert not shares[3].any()
    many = np.arange(60)
    ax = plot_confusion(many, many)
    assert not ax.texts
    assert len(ax.get_xticks()) <= 20
    assert "share" in ax.figure.axes[1].get_ylabel()


def test_confusion_refuses_what_does_not_fit():
    for arguments, message in (
        (([1, 2], [1]), "two vectors of the same length"),
        (([], []), "two vectors of the same length"),
        (([1, 2], [1, 3], [1, 2]), "the label 3 is not among them"),
    ):
        with pytest.raises(InputError, match=message):
            plot_confusion(*arguments)


def test_the_command_draws_the_confusion_of_the_runs_own_test_set(
    folders, tmp_path, capsys, monkeypatch
):
    seen = []
    draw = plot_confusion
    monkeypatch.setattr(
        "fastbcd.plots.plot_confusion", lambda *given: seen.append(draw(*given)) or seen[-1]
    )
    run = folders / "certified"
    assert main(["plot", str(run), "--confusion"]) == 0
    assert capsys.readouterr().out == f"drawn in {run / 'confusion.png'}\n"
    counts = counts_in(seen[0])
    accuracy = json.loads((run / "summary.json").read_text())["test_accuracy"]
    assert sum(counts.values()) == 360
    right = sum(n for (i, j), n in counts.items() if i == j)
    assert right / 360 == pytest.approx(accuracy)
    assert seen[0].get_title(loc="left").startswith("certified: accuracy ")
    assert image.imread(run / "confusion.png").shape[0] >= 900
    assert "one DIR at a time, got 2" in complaint(capsys, run, folders / "tanh", "--confusion")
    # Text as classes.
    write_csv(tmp_path / "table.csv")
    out = str(tmp_path / "table")
    options = ["--target", "kind", "--hidden", "4", "--epochs", "2", "--quiet", "--out", out]
    assert main(["train", str(tmp_path / "table.csv"), *options]) == 0
    assert main(["plot", out, "--confusion", "--out", str(tmp_path / "c.svg")]) == 0
    assert {"red", "blue"} == {tick.get_text() for tick in seen[1].get_xticklabels()}
    (tmp_path / "table" / "model.safetensors").unlink()
    capsys.readouterr()
    assert "a finished run has one" in complaint(capsys, out, "--confusion")
