"""Pages whose text lies elsewhere, and links that mean pages of the site.

On a code host the Markdown files link to each other by their paths. Some of these are no pages of
the site under that name: CHANGELOG.md is the page `changes`, and docs/measured/*.md are tables of
the page `results`. And where a link's text is the name of a file, [math.md](math.md), the site says
the title of the page, or of the section that is quoted behind the link.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"changes": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
LINK = re.compile(r"\[([^\[\]]*)\]\(([^)#\s]+)(#[^)]*)?\)(,\s+\"([^\"]+)\")?")


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
    text, path, anchor, quoted, section = link.groups(default="")
    file = (folder / path).resolve()
    page = _page(file) if ":" not in path else ""
    if not page:
        return link[0]
    if page == "results.md" and file.name != page:
        return f'"[]({page}#{_shown_in(file)})"{quoted}'
    if not text.endswith(".md") or anchor:
        return f"[{text}]({page}{anchor}){quoted}"
    if slug(section) in headings(page):
        return f'"[]({page}#{slug(section)})"'
    return f"[]({page}){quoted}"


def _page(file: Path) -> str:
    """The file in docs/ that a file is shown by; "" for none."""
    if not file.is_relative_to(ROOT):
        return ""
    name = file.relative_to(ROOT).as_posix()
    pages = {path: f"{page}.md" for page, path in ELSEWHERE.items()} | {"README.md": "index.md"}
    if name.startswith("docs/measured/") and name.endswith(".md"):
        return "results.md"
    return pages.get(name, name.removeprefix("docs/") if name.startswith("docs/") else "")


def _shown_in(table: Path) -> str:
    """The section of the page `results` that shows a table."""
    name = table.relative_to(ROOT / "docs").as_posix()
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    above = text[: text.index(f"({name})")]
    return slug(re.findall(r"^##+ (.*)$", above, re.MULTILINE)[-1])


def headings(page: str) -> set[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return {slug(title) for title in re.findall(r"^##+ (.*)$", text, re.MULTILINE)}


def slug(title: str) -> str:
    """The anchor that a heading gets, here and on a code host."""
    return re.sub(r"[^\w\- ]", "", " ".join(title.lower().split())).replace(" ", "-")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
