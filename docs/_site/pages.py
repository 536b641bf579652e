"""Pages whose text lies elsewhere, and links that mean pages of the site.

On a code host the Markdown files link to each other by their paths. Some of these are no pages of
the site under that name: CHANGELOG.md is the page `changes`, and docs/measured/*.md are tables of
the page `results`.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"changes": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def read(app: Sphinx, page: str, source: list[str]) -> None:
    if not str(app.env.doc2path(page)).endswith(".md"):
        return
    if page in ELSEWHERE:
        file = ROOT / ELSEWHERE[page]
        app.env.note_dependency(file)
        source[0] = LINK.sub(lambda link: _link(link, ROOT), file.read_text(encoding="utf-8"))
    else:
        source[0] = LINK.sub(lambda link: _link(link, ROOT / "docs"), source[0])


def _link(link: re.Match[str], folder: Path) -> str:
    """The link, from a page in docs/, to the page that shows the file it names in `folder`."""
    path = (folder / link[1]).resolve()
    if ":" in link[1] or not path.is_relative_to(ROOT):
        return link[0]
    name = path.relative_to(ROOT).as_posix()
    anchor = link[2] or ""
    pages = {file: f"{page}.md" for page, file in ELSEWHERE.items()} | {"README.md": "index.md"}
    if name in pages:
        return f"]({pages[name]}{anchor})"
    if name.startswith("docs/measured/") and name.endswith(".md"):
        return "](results.md)"
    if name.startswith("docs/"):
        return f"]({name.removeprefix('docs/')}{anchor})"
    return link[0]


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
