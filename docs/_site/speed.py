"""A page of what asv measured, where `asv publish` was run before the build of the site.

asv's own pages load their scripts from the net. They become the folder ``asv`` of the site, and the
page ``speed.html`` shows the same numbers without a script: each benchmark over the commits.
"""

import html
import json
import math
import shutil
from datetime import datetime, timezone
from itertools import product
from pathlib import Path

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / ".asv" / "html"
# Unit -> names of its parts, the largest first, and how much each is.
UNITS = {
    "seconds": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)),
    "bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)),
}
# asv names a value of a parameter as Python would write it.
QUOTE = "'"
# Width, height and margin of the picture in a row.
WIDTH, HEIGHT, MARGIN = 150, 34, 5
LINK = '\n\nWhat asv measured for this site: <a href="speed.html">speed over the commits</a>.\n'
INTRODUCTION = """<p>asv measured these numbers, as
<a href="regressions.html#a-history-with-asv">Tracking regressions</a> says. A point is a commit;
put the pointer on it to read its name, date and value. Lines run from the oldest commit to the
newest, and from the smallest value to the largest. The ratio is that of the newest value to the
oldest. <a href="asv/index.html">asv's own pages</a> show the same in larger pictures, with the code
of the benchmarks; they load their scripts from the net.</p>"""


def amount(value, unit):
    """`value` as a short text, in seconds or bytes, or without a unit."""
    names = UNITS.get(unit, (("", 1.0),))
    name, size = next((part for part in names if abs(value) >= part[1]), names[-1])
    return f"{value / size:.4g} {name}".strip()


def series(points, benchmark):
    """Parameters of each variant of a benchmark, and its list of (commit, value)."""
    variants = list(product(*benchmark["params"]))
    found = {variant: [] for variant in variants}
    for commit, values in points:
        of_variants = values if isinstance(values, list) else [values] * len(variants)
        for variant, value in zip(variants, of_variants, strict=True):
            if value is not None and math.isfinite(value):
                found[variant].append((commit, value))
    return {variant: measured for variant, measured in found.items() if measured}


def picture(measured, unit, commits):
    """Points of a series as an SVG, whose line runs through them."""
    at, values = zip(*measured, strict=True)
    low, high = min(values), max(values)
    x = [MARGIN + (WIDTH - 2 * MARGIN) * (k - at[0]) / max(at[-1] - at[0], 1) for k in at]
    y = [HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (v - low) / (high - low or 1) for v in values]
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"><title>{commits[k]}: {amount(v, unit)}'
        "</title></circle>"
        for a, b, k, v in zip(x, y, at, values, strict=True)
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' fill="currentColor"><polyline points="{line}" fill="none" stroke="currentColor"/>'
        f"{dots}</svg>"
    )


def row(name, benchmark, variant, measured, commits):
    """One line of a table: name, picture, the oldest and the newest value, and their ratio."""
    first, last, unit = measured[0][1], measured[-1][1], benchmark["unit"]
    given = zip(benchmark["param_names"], variant, strict=True)
    words = [f"{parameter} {text.strip(QUOTE)}" for parameter, text in given]
    if unit not in (*UNITS, "unit"):
        words.append(f"in {unit}")
    ratio = f"{last / first:.3f}" if first else ""
    cells = [
        "<br>".join(html.escape(word) for word in (name, ", ".join(words)) if word),
        picture(measured, unit, commits),
        *(html.escape(amount(value, unit)) for value in (first, last)),
        ratio,
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def body(published):
    """The page as HTML: a table for each machine and each file of benchmarks."""
    index = json.loads((published / "index.json").read_text(encoding="utf-8"))
    commits = {}
    for number, name in index["revision_to_hash"].items():
        seconds = index["revision_to_date"][number] / 1000
        day = datetime.fromtimestamp(seconds, timezone.utc).date()
        commits[int(number)] = f"{name[: index['hash_length']]}, {day}"
    parts = ["<h1>Speed over the commits</h1>", INTRODUCTION]
    folders = {path.parent for path in (published / "graphs").glob("*/**/*.json")}
    for folder in sorted(folders - {published / "graphs" / "summary"}):
        tables = {}
        for name, benchmark in sorted(index["benchmarks"].items()):
            if not (folder / f"{name}.json").exists():
                continue
            points = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            file, _, rest = name.partition(".")
            tables.setdefault(file, []).extend(
                row(rest, benchmark, variant, measured, commits)
                for variant, measured in series(points, benchmark).items()
            )
        where = folder.relative_to(published / "graphs").parts
        words = [word.replace("-", " ", 1) for word in where]
        machine = next((word for word in words if word.startswith("machine ")), "machine")
        parts.append(f"<h2>{html.escape(machine.capitalize())}</h2>")
        parts.append(f"<p>{html.escape(', '.join(words))}</p>")
        for file, rows in tables.items():
            head = "".join(
                f"<th>{word}</th>"
                for word in ("benchmark", "over the commits", "oldest", "newest", "ratio")
            )
            parts.append(
                f'<h3>{html.escape(file)}</h3><div class="table-wrapper">'
                f'<table class="docutils speed">'
                f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
            )
    return "\n".join(parts)


def link(app, docname, source):
    """Name the page on that of regressions, where there is one."""
    if docname == "regressions":
        index = Path(app.config.asv_pages, "index.json")
        app.env.note_dependency(str(index))
        if index.exists():
            source[0] += LINK


def collect(app):
    """Give the page to the build, and asv's own pages beside it."""
    published = Path(app.config.asv_pages)
    if (published / "index.json").exists():
        shutil.copytree(published, Path(app.outdir, "asv"), dirs_exist_ok=True)
        yield "speed", {"title": "Speed over the commits", "body": body(published)}, "page.html"


def setup(app):
    """Connect both to the build; `-D asv_pages=FOLDER` reads the pages from elsewhere."""
    app.add_config_value("asv_pages", str(PUBLISHED), "html")
    app.connect("source-read", link)
    app.connect("html-collect-pages", collect)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
