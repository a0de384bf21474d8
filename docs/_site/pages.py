"""Pages that lie outside of docs/, links between pages, and links from names to the reference."""

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
# Page of the site -> the file that it shows.
OUTSIDE = {
    "project/overview": "README.md",
    "project/changelog": "CHANGELOG.md",
    "project/contributing": "CONTRIBUTING.md",
    "project/notes": "benchmarks/NOTES.md",
    "project/combinations": "benchmarks/COMBINATIONS.md",
    "project/security": ".github/SECURITY.md",
    "project/conduct": ".github/CODE_OF_CONDUCT.md",
    "reference/kernel-tables": "kernels/README.md",
}
PAGE_OF = {(ROOT / file).resolve(): f"{page}.md" for page, file in OUTSIDE.items()}
PAGE_OF[(DOCS / "README.md").resolve()] = "index.rst"
PAGE_OF[(DOCS / "gallery" / "README.rst").resolve()] = "examples/index.rst"
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)")
CODE = re.compile(r"(^```.*?^```$|(?:^    [^\n]*\n?)+)", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"[A-Za-z_][\w.]*")


def read(app, docname, source):
    """Text of a Markdown page, with links to files turned into links to pages of the site."""
    page = DOCS / f"{docname}.md"
    if not page.exists():
        return
    file = ROOT / OUTSIDE[docname] if docname in OUTSIDE else page
    app.env.note_dependency(str(file))

    def of_the_site(link):
        target = (file.parent / link[0]).resolve()
        place = DOCS / PAGE_OF[target] if target in PAGE_OF else target
        return os.path.relpath(place, page.parent)

    # Every second part is code, which stays as it is.
    parts = CODE.split(file.read_text())
    source[0] = "".join(
        part if odd % 2 else LINK.sub(of_the_site, part) for odd, part in enumerate(parts)
    )


class LinkNames(SphinxTransform):
    """A public name in backticks on a Markdown page becomes a link into the reference."""

    default_priority = 400

    def apply(self):
        """Wrap each literal that is a name in a reference, which stays a literal if none fits."""
        if not os.fspath(self.env.doc2path(self.env.docname)).endswith(".md"):
            return
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext()
            if not NAME.fullmatch(text) or not (text[0].isupper() or "." in text):
                continue
            if isinstance(literal.parent, nodes.reference):
                continue
            wrapped = addnodes.pending_xref(
                "", refdomain="py", reftype="obj", reftarget=text, refdoc=self.env.docname
            )
            literal.replace_self(wrapped)
            wrapped += literal


def setup(app):
    """Connect both to the build."""
    app.connect("source-read", read)
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
