"""A page with the panels of runs, whose runs can be switched and whose values can be read.

Each panel is an SVG by matplotlib. Beside it the page holds the place of each point in the SVG, and
the script that shows values. So a page needs no other library and no network.
"""

from __future__ import annotations

import html
import io
import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.files.atomic import user_path, write_atomically
from fastbcd.plots.curves import ACCURACIES
from fastbcd.plots.overview import HEIGHT, WIDTH, panels_of, titles_of
from fastbcd.plots.run import Run, read_runs
from fastbcd.plots.style import MARKERS, colour, new_figure, style
from fastbcd.plots.subgradient import MEAN
from fastbcd.plots.text import printable
from fastbcd.support.floating_point import own_errstate

# Markers of lines as letters.
SYMBOLS = dict(zip(MARKERS, "●■▲◆▼✚✖★", strict=True))
# Columns that share a panel with others, in words.
KINDS = {column: name for column, (name, _) in ACCURACIES.items()}
KINDS |= {MEAN: "mean up to T", "subgradient": "|g|² at T"}
# What `run_id` gives, and the number above a bar.
MARKED = re.compile(r"(\w+)-run-(\d+)(?:-number)?")
# An SVG has an inch for 72 units.
UNITS = 72


@own_errstate
def save_page(runs: Any, path: Path) -> None:
    """Write a page of HTML with every panel for which a run has data, whole or not at all.

    A click on a run hides or shows it, a double click shows it alone. A panel shows the values of
    all visible runs at the iteration below the pointer. The page is one file, which loads nothing.

    Parameters
    ----------
    runs : run, sequence of runs, or dict of name -> run
        See `fastbcd.plots.read_runs`.
    path : Path
        An existing file is replaced.

    Raises
    ------
    InputError
        No run has data for any panel, a run cannot be read, or matplotlib is not installed.
    OSError
        The file cannot be written.
    """
    runs = read_runs(runs)
    drawn = [_panel(name, draw, runs) for name, draw in panels_of(runs).items()]
    titles = [html.escape(printable(title)) for title in titles_of(runs)]
    looks = [(colour(k), SYMBOLS[MARKERS[k % len(MARKERS)]]) for k in range(len(runs))]
    named = [
        {"name": printable(run.name), "colour": shade, "symbol": symbol}
        for run, (shade, symbol) in zip(runs, looks, strict=True)
    ]
    data = {"runs": named, "panels": [data for _, data in drawn]}
    parts = {
        "title": html.escape(", ".join(run["name"] for run in named)),
        "heading": titles[0] if len(runs) == 1 else f"{len(runs)} runs",
        "runs": _legend(titles, looks),
        "panels": "\n".join(figure for figure, _ in drawn),
        # In a script of HTML only "<" could be read as markup.
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)
    write_atomically(user_path(path), page.encode())


def _legend(titles: list[str], looks: list[tuple[str, str]]) -> str:
    """A button for each of several runs, and what buttons and panels do."""
    read = "Point at a panel to read values, or choose it by Tab and use the arrow keys."
    if len(titles) == 1:
        return f'<p class="hint">{read}</p>'
    buttons = "\n".join(
        f'<li><button aria-pressed="true"><span style="color:{shade}">{symbol}</span> {title}'
        "</button></li>"
        for title, (shade, symbol) in zip(titles, looks, strict=True)
    )
    switch = "Click a run to hide or show it, double-click it to see it alone."
    return f'<ul id="runs">\n{buttons}\n</ul>\n<p class="hint">{switch} {read}</p>'


def _panel(name: str, draw: Callable[..., Any], runs: list[Run]) -> tuple[str, dict[str, Any]]:
    """A panel as a figure of HTML, and the places and texts of its points."""
    figure = new_figure(WIDTH, HEIGHT)
    figure.set_dpi(UNITS)
    with style():
        ax, content = figure.add_subplot(), io.BytesIO()
        draw(runs, ax=ax, legend=False)
        figure.savefig(content, format="svg", metadata={"Date": None})
        marks = [
            _mark(name, artist, column, int(k))
            for artist in ax.findobj()
            if artist.get_gid()
            for column, k in MARKED.findall(artist.get_gid())
        ]
    drawing = content.getvalue().decode()
    # Ids are those of a page, which holds several drawings.
    drawing = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{name}-", drawing[drawing.index("<svg") :])
    label = html.escape(f"{ax.get_title(loc='left')}: {ax.get_ylabel()}, over {ax.get_xlabel()}")
    bars = bool(ax.containers)
    data = {
        "name": name,
        "word": "block" if bars else "iteration",
        "names": [tick.get_text() for tick in ax.get_xticklabels()] if bars else None,
        "top": round(HEIGHT * UNITS - ax.bbox.y1, 2),
        "bottom": round(HEIGHT * UNITS - ax.bbox.y0, 2),
        "marks": marks,
    }
    return f'<figure id="{name}" tabindex="0" aria-label="{label}">\n{drawing}</figure>', data


def _mark(panel: str, artist: Any, column: str, k: int) -> dict[str, Any]:
    """The points of a line or the top of a bar: where in the SVG, and which value."""
    from matplotlib.ticker import FuncFormatter

    points = np.empty((0, 2))
    if hasattr(artist, "get_xydata"):  # a line
        points = np.asarray(artist.get_xydata(), np.float64)
    elif hasattr(artist, "get_height"):  # a bar
        points = np.array([[artist.get_x() + artist.get_width() / 2, artist.get_height()]])
    places = artist.axes.transData.transform(points).round(2)
    # Axes with a form of their own for numbers use other units, or plain numbers.
    form = artist.axes.yaxis.get_major_formatter()
    say = form if isinstance(form, FuncFormatter) else "{:.6g}".format
    return {
        "id": f"{panel}-{artist.get_gid()}",
        "run": k,
        "kind": KINDS.get(column, ""),
        "at": [round(x) for x in points[:, 0]],
        "x": places[:, 0].tolist(),
        "y": (HEIGHT * UNITS - places[:, 1]).round(2).tolist(),
        "text": [say(y) for y in points[:, 1]],
    }
