"""Docstrings in the reference: kernels as functions, formulas as they stand, names as links."""

import importlib
import inspect
import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from fastbcd import kernels

OLD = re.compile(r"had (this name )?in the (previous release|release before)")
# Words of types -> names.
TYPES = {
    "array": "numpy.ndarray",
    "arrays": "numpy.ndarray",
    "Path": "pathlib.Path",
    "RandomState": "numpy.random.RandomState",
}
# Literals, strong words and words in italics keep their marks.
MARKED = re.compile(r"(``.+?``|`[^`]+`|\*\*.+?\*\*|(?<!\*)\*[^*\s][^*]*\*(?!\*))")


def as_functions(app):
    """Put the Python function of each compiled kernel in its place: only the gallery calls it."""
    for name in kernels.__all__:
        thing = getattr(kernels, name)
        function = getattr(thing, "py_func", None)
        if function is not None:
            setattr(kernels, name, function)


def escaped(line):
    """`line` with what the format would take for a mark escaped: |W|, best_loss_, *shape."""
    return "".join(
        part if odd % 2 else re.sub(r"(?<!\\)(\||\*|(?<=\w)_(?!\w))", r"\\\1", part)
        for odd, part in enumerate(MARKED.split(line))
    )


def escape(app, what, name, thing, options, lines):
    """Escape the lines of a docstring, but none of a block of code."""
    code = None  # the indentation of the line that announces it
    for i, line in enumerate(lines):
        indentation = len(line) - len(line.lstrip())
        if line and code is not None and indentation <= code:
            code = None
        if code is None:
            lines[i] = escaped(line)
            if line.endswith("::") or ".. code-block::" in line:
                code = indentation


def is_left_out(app, what, name, thing, skip, options):
    """True for what scikit-learn documents, and for names of the release before."""
    foreign = str(getattr(thing, "__module__", "")).startswith("sklearn")
    old = re.search(
        r"had (this name )?in the (previous release|release before)", thing.__doc__ or ""
    )
    return True if foreign or old else None


def find(app, env, node, content):
    """The place of a name without its module: the only public object that is called so."""
    if node.get("refdomain") != "py" or node.get("reftype") not in ("obj", "class", "exc"):
        return None
    name, objects = node["reftarget"], env.domains["py"].objects
    found = [full for full in objects if full == name or full.endswith(f".{name}")]
    if not name[:1].isupper() and "." not in name:
        return None
    if len(found) > 1:
        found = [full for full in found if full.count(".") == min(f.count(".") for f in found)]
    if len(found) != 1:
        return None
    place = objects[found[0]]
    address = app.builder.get_relative_uri(node["refdoc"], place.docname)
    return nodes.reference(
        "", "", content, internal=True, refuri=f"{address}#{place.node_id}", reftitle=found[0]
    )


class LinkTypes(SphinxTransform):
    """Types of parameters become links: "sequence of Layer", "(n, d) array"."""

    default_priority = 400

    def apply(self):
        """Split each type at the words that may have a place in a reference."""
        for classifier in list(self.document.findall(nodes.classifier)):
            words = re.split(r"(\b(?:arrays?|[A-Z][A-Za-z]+)\b)", classifier.astext())
            classifier.clear()
            for i, word in enumerate(words):
                text = nodes.Text(word)
                classifier += reference(TYPES.get(word, word), text, self.env) if i % 2 else text


def reference(name, content, env):
    """`content` as a link to a name, if there is one."""
    node = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=name)
    node["refdoc"] = env.docname
    node += content
    return node


def explained(constant, key):
    """What a dict says about a key, if it says it in words."""
    value = constant[key] if isinstance(constant, dict) else None
    return f": {value}" if isinstance(value, str) else ""


class Public(SphinxDirective):
    """``.. public:: MODULE`` and names: a table of them, then the docstring of each."""

    required_arguments = 1
    has_content = True

    def run(self):
        """Write a table, and the directives of autodoc for these names."""
        (module,) = self.arguments
        things = {
            name: getattr(importlib.import_module(module), name) for name in self.content.data
        }
        lines = [f".. currentmodule:: {module}", "", ".. list-table::", "   :class: names", ""]
        for name, thing in things.items():
            lines += [f"   * - :py:obj:`{name}`", f"     - {summary(thing)}"]
        for name, thing in things.items():
            lines += ["", *entry(name, thing)]
        return self.parse_text_to_nodes("\n".join(lines))


def summary(thing):
    """The first sentence of a docstring; of a constant the names in it."""
    if not callable(thing):
        return ", ".join(f"``{name}``" for name in thing)
    text = inspect.getdoc(thing)
    paragraph = " ".join(text.partition("\n\n")[0].split())
    parts = MARKED.split(paragraph)
    for i in range(0, len(parts), 2):
        sentence, end, _ = parts[i].partition(". ")
        if end:
            return escaped("".join([*parts[:i], sentence, "."]))
    return escaped(paragraph)


def entry(name, thing):
    """The directive of autodoc that shows one name."""
    if not callable(thing):
        names = [f"   - ``{key}``{explained(thing, key)}" for key in thing]
        return [f".. py:data:: {name}", "", *names]
    if not inspect.isclass(thing):
        return [f".. autofunction:: {name}"]
    kind = "exception" if issubclass(thing, BaseException) else "class"
    members = ["   :members:", "   :inherited-members: BaseEstimator, object"]
    return [f".. auto{kind}:: {name}", *(members if kind == "class" else [])]


def setup(app):
    """Connect all of it to the build."""
    # After the scripts of the gallery, which call compiled kernels.
    app.connect("builder-inited", as_functions, priority=900)
    app.connect("autodoc-skip-member", is_left_out)
    app.connect("autodoc-process-docstring", escape, priority=900)
    app.connect("missing-reference", find, priority=400)
    app.add_transform(LinkTypes)
    app.add_directive("public", Public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
