"""What `fastsoftmax bench` measured, drawn from docs/measured when the site is built.

A paragraph that is nothing but a link to a table, [name](measured/name.md), becomes the picture of
that table and the table. Other links to a committed picture, measured/name.png, lead to the one
drawn here, in the site's own colours.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
MEASURED, DRAWN = DOCS / "measured", DOCS / "_drawn"
OURS = "fastsoftmax"
GREY = "#808080"  # is read on white and on black
COLOURS = ["#3f8ae0", "#e08e3f", "#4caf7a", "#b87fd9"]
STYLE = {
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "svg.fonttype": "none",
    "svg.hashsalt": "fastsoftmax",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "font.family": "sans-serif",
}
ALONE = re.compile(r"^\[[^\]]*\]\(measured/([\w/]+)\.md\)$", re.MULTILINE)
PICTURE = re.compile(r"!\[([^\]]*)\]\((?:docs/)?measured/(\w+)\.png\)")

Table = list[dict[str, str]]


def read(app: Sphinx, page: str, source: list[str]) -> None:
    def shown(found: re.Match[str]) -> str:
        file = MEASURED / f"{found[1]}.md"
        app.env.note_dependency(file)
        return show(found[1], file.read_text(encoding="utf-8"))

    source[0] = ALONE.sub(shown, source[0])
    source[0] = PICTURE.sub(lambda found: _image(found[2], found[1]), source[0])


def show(name: str, text: str) -> str:
    """The pictures of the tables in `text`, and the text."""
    parts = []
    for i, table in enumerate(tables(text)):
        picture = f"{name.replace('/', '-')}-{i + 1}" if i else name.replace("/", "-")
        parts.append(_image(picture, f"{name}: times as fast") if _can_draw(name, table) else "")
    return "\n\n".join([*filter(None, parts), text])


def _image(name: str, alt: str) -> str:
    return f"![{alt}](_drawn/{name}.svg){{.dark-light .measured}}"


def tables(text: str) -> Iterator[Table]:
    """The Markdown tables in `text`."""
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = (
            [cell.strip() for cell in line[1:-1].split("|")] for line in block.split("\n") if line
        )
        yield [dict(zip(head, row, strict=True)) for row in rows]


def draw_all(app: Sphinx) -> None:
    import matplotlib as mpl

    DRAWN.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        for file in sorted(MEASURED.rglob("*.md")):
            name = file.relative_to(MEASURED).with_suffix("").as_posix()
            for i, table in enumerate(tables(file.read_text(encoding="utf-8"))):
                if not _can_draw(name, table):
                    continue
                stem = name.replace("/", "-") + (f"-{i + 1}" if i else "")
                figure = _curves(name) if _has_curves(name) else _bars(table)
                figure.savefig(
                    DRAWN / f"{stem}.svg",
                    transparent=True,
                    metadata={"Date": None, "Creator": None},
                )


def _has_curves(name: str) -> bool:
    """Whether the figures beside the table are distances from an optimum, by time."""
    return name == "optimum" or name.endswith("/optimum")


def _can_draw(name: str, table: Table) -> bool:
    if _has_curves(name):
        return (MEASURED / f"{name}.json").exists()
    return len(_sides(table)) > 1


def _sides(table: Table) -> dict[str, str]:
    """The column of each side that was timed."""
    return {
        column.rsplit(" ", 1)[0]: column for column in table[0] if re.search(r" (ms|µs|s)$", column)
    }


def _time(row: dict[str, str], column: str) -> float:
    """In whatever unit the table has; NaN for none. A median may follow in brackets."""
    found = re.match(r"[\d.]+", row[column])
    return float(found[0]) if found else float("nan")


def _bars(table: Table) -> Figure:
    """How many times as fast as each other side, a group of bars for each row."""
    sides = _sides(table)
    ours = sides.pop(OURS)
    first = next(iter(table[0]))
    figure = Figure(figsize=(7.5, 1 + 0.24 * len(table) * (len(sides) + 0.6)), layout="constrained")
    axes = figure.subplots()
    height = 0.85 / len(sides)
    for i, (side, column) in enumerate(sides.items()):
        ups = [_time(row, column) / _time(row, ours) for row in table]
        places = [n + (i + 0.5) * height for n in range(len(table))]
        lengths = [up - 1 for up in ups]
        bars = axes.barh(places, lengths, height * 0.9, left=1, color=COLOURS[i], label=side)
        labels = ["" if up != up else f"{up:.1f}" for up in ups]
        axes.bar_label(bars, labels, padding=3, fontsize=8, color=GREY)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(axes.get_xlim()[0] * 0.9, axes.get_xlim()[1] * 1.25)
    axes.margins(y=0.01)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
    axes.tick_params(axis="y", length=0)
    names = [f"{row[first]}  {row.get('dtype', '')}" for row in table]
    axes.set_yticks([n + 0.43 for n in range(len(table))], names)
    axes.invert_yaxis()
    axes.set_xlabel(f"{OURS} is so many times as fast")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(sides))
    return figure


def _curves(name: str) -> Figure:
    """The distance from the optimum against the time, a panel for each problem."""
    result = json.loads((MEASURED / f"{name}.json").read_text(encoding="utf-8"))
    found = result["rows"]
    lines = -(-len(found) // 2)
    figure = Figure(figsize=(8, 2.6 * lines), layout="constrained")
    panels = figure.subplots(lines, 2, squeeze=False).ravel()
    for axes, row in zip(panels, found, strict=False):
        for i, side in enumerate(result["sides"]):
            runs = row["runs"].get(side, [])
            seconds = [run["seconds"] for run in runs]
            distances = [max(run["distance"], 1e-12) for run in runs]
            width = 2.5 if side == OURS else 1.2
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(seconds, distances, ".-", color=colour, linewidth=width, label=side)
        axes.set(xscale="log", yscale="log")
        axes.set_title(f"{row['problem']}, {'x'.join(map(str, row['shape']))}", fontsize=10)
        for target in row["seconds_to"][OURS]:
            axes.axhline(float(target), color=GREY, linewidth=0.5, linestyle=":")
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    figure.supxlabel("seconds", fontsize=10)
    figure.supylabel("relative distance from the optimum", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", draw_all)
    app.connect("source-read", read, priority=400)  # before links to tables become links to pages
    return {"parallel_read_safe": True, "parallel_write_safe": True}
