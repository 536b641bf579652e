"""What the pages of docs/ leave out; the site itself is built by `make -C docs html`."""

import importlib
import inspect
import re
import runpy
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
REFERENCE = (DOCS / "api.rst").read_text(encoding="utf-8")
PUBLIC = ["fastsoftmax", "fastsoftmax.kernels", "fastsoftmax.sklearn", "fastsoftmax.sources"]

# What has no page of its own.
WITHOUT_PAGE = {"fastsoftmax.__version__", "fastsoftmax.kernels"}

if find_spec("distributed") is not None:  # the extra [dask]
    PUBLIC.append("fastsoftmax.dask")


def documented():
    """The names in the reference, with their modules."""
    module = ""
    for line in REFERENCE.splitlines():
        if line.startswith(".. currentmodule:: "):
            module = line.removeprefix(".. currentmodule:: ")
        elif module in PUBLIC and re.fullmatch(r"   \w+", line):
            yield f"{module}.{line.strip()}"


def test_the_reference_has_every_public_name_once():
    names = [
        f"{module}.{name}" for module in PUBLIC for name in importlib.import_module(module).__all__
    ]
    assert sorted(documented()) == sorted(set(names) - WITHOUT_PAGE)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_says_what_it_is(module):
    things = vars(importlib.import_module(module))
    for name in things["__all__"]:
        thing = things[name]
        assert name == "__version__" or inspect.getdoc(thing), name
        if inspect.isclass(thing):
            methods = inspect.getmembers(thing, lambda it: inspect.isfunction(it))
            own = [it for part, it in methods if not part.startswith("_")]
            assert [it for it in own if not inspect.getdoc(it)] == [], name


def test_docstrings_name_pages_that_are_there():
    files = (DOCS.parent / "src").rglob("*.py")
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    pages = set(re.findall(r"docs/([\w-]+)\.md", text))
    assert len(pages) > 5
    assert [page for page in pages if not (DOCS / f"{page}.md").exists()] == []


def test_the_first_page_runs_as_written(capsys):
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(example, names)
    assert names["optimum"].gap <= 1e-4
    assert names["grad_W"].shape == (20, 2)
    assert len(capsys.readouterr().out.split()) == 4


def test_every_link_between_pages_leads_somewhere():
    for page in DOCS.glob("*.md"):
        links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))
        there = [it for it in links if it.startswith("_gallery/") or (DOCS / it).exists()]
        assert links == there, page.name  # the gallery is made when the site is built


def test_links_of_the_site_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "there.html").write_text('<h2 id="here"></h2><a href="https://example.org"></a>')
    links = ["there.html", "there.html#here", "there.html#gone", "gone.html", "gone.png"]
    text = "".join(f'<a href="{it}"></a>' for it in links[:-1]) + f'<img src="{links[-1]}">'
    (tmp_path / "index.html").write_text(text)
    check_site = runpy.run_path(str(DOCS / "check_site.py"))
    assert sorted(check_site["broken_links"](tmp_path)) == [
        "index.html: gone.html leads nowhere",
        "index.html: gone.png leads nowhere",
        "index.html: there.html#gone names no place in the page",
    ]
