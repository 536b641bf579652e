"""What docstrings say of pages, as links; and of a class, what is its own."""

import re
from pathlib import Path
from typing import Any

from pages import headings, slug
from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
PAGE = re.compile(r'docs/([\w-]+)\.md(?:,\s+"([^"]+)")?')


def link_pages(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """docs/math.md becomes a link to the page, or to the section that is quoted behind it."""
    lines[:] = PAGE.sub(_link, "\n".join(lines)).split("\n")


def _link(found: re.Match[str]) -> str:
    page, section = found.groups(default="")
    if not (DOCS / f"{page}.md").exists():  # which tests/test_site.py finds
        return found[0]
    if slug(section) in headings(f"{page}.md"):  # the reference is a folder below
        return f'"`{" ".join(section.split())} <../{page}.html#{slug(section)}>`__"'
    return f":doc:`/{page}`" + (f', "{section}"' if section else "")


def leave_out(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """What scikit-learn or Python defined is described there."""
    module = getattr(getattr(obj, "fget", None) or obj, "__module__", None) or ""
    if skip or not module.startswith("fastsoftmax") or re.fullmatch(r"set_\w+_request", name):
        return True
    return None


def hide_making(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str, None] | None:
    """Of what only the library makes, the arguments are nobody's business."""
    return ("", None) if what == "class" and "_make_" in (signature or "") else None


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", link_pages)
    app.connect("autodoc-process-signature", hide_making)
    app.connect("autodoc-skip-member", leave_out)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
