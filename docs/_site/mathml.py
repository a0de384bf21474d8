"""Equations as MathML: browsers draw it without a script, so a page needs no net for it."""

from docutils import nodes
from latex2mathml.converter import convert


def visit_math(translator, node):
    """An equation within a line."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_displaymath(translator, node):
    """An equation on lines of its own, which scrolls sideways where it is too wide."""
    equation = convert(node.astext(), display="block")
    translator.body.append(f'<div class="equation">{equation}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer under the name "mathml"."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
