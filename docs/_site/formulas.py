"""MathJax with its fonts, served from the site: the files come from a package of pip's."""

from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset

PACKAGE = "sphinx-mathjax-offline"  # the name of the module, too
PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2")  # of 24 MB what a page asks for


def copy_mathjax(app: Sphinx, problem: Exception | None) -> None:
    if problem is not None or app.builder.format != "html":
        return
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(f"formulas need {PACKAGE}: pip install '.[docs]'")
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        inside = part if (source / part).is_dir() else str(Path(part).parent)
        copy_asset(source / part, target / inside)


def setup(app: Sphinx) -> dict[str, bool]:
    app.config.mathjax_path = f"mathjax/{PARTS[0]}"
    app.config.mathjax3_config = {
        # No menu and no speech: both would load further files.
        "options": {"enableMenu": False, "renderActions": {"addMenu": [], "checkLoading": []}},
        "chtml": {"displayAlign": "left", "displayIndent": "1em"},
    }
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
