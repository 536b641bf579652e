"""Public names in the text of Markdown pages, as links to the reference."""

import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

import fastsoftmax
import fastsoftmax.dask
import fastsoftmax.sklearn
import fastsoftmax.sources

MODULES = (fastsoftmax.kernels, fastsoftmax.sklearn, fastsoftmax)
PUBLIC = {name: f"{module.__name__}.{name}" for module in MODULES for name in module.__all__}
for module in (fastsoftmax.dask, fastsoftmax.sources):
    short = module.__name__.removeprefix("fastsoftmax.")
    PUBLIC |= {f"{short}.{name}": f"{module.__name__}.{name}" for name in module.__all__}
SHORT = r"(?:fs\.|fastsoftmax\.(?:kernels\.|sklearn\.)?)?"  # what may stand before a name
NAME = re.compile(SHORT + r"((?:dask\.|sources\.)?\w+)(?:\(.*\))?")

# Where these are rather methods of a class.
METHODS = {"fit", "predict", "predict_proba", "predict_log_proba", "decision_function", "loss"}
OF_CLASSES = {"sklearn", "from-logistic-regression", "cli", "reliability", "changes"}

SPEAKS_OF = {"dask": "dask.", "scale": "dask.", "large-data": "sources."}  # before other modules


class LinkNames(SphinxTransform):
    """`fit_sgd(X, y)` leads to `fastsoftmax.fit_sgd`."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        page = self.env.docname
        if not str(self.env.doc2path(page)).endswith(".md"):
            return
        for literal in list(self.document.findall(nodes.literal)):
            found = NAME.fullmatch(literal.astext())
            name = found[1] if found else ""
            if SPEAKS_OF.get(page, "") + name in PUBLIC:
                name = SPEAKS_OF.get(page, "") + name
            if name not in PUBLIC or (page in OF_CLASSES and name in METHODS):
                continue
            if isinstance(literal.parent, nodes.reference | nodes.title | addnodes.pending_xref):
                continue
            link = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=PUBLIC[name], refdoc=page
            )
            literal.replace_self(link)
            link += literal


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
