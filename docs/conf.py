"""Configuration of the documentation site; `sphinx-build -W docs build/site` builds it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_site")]

from known_elsewhere import write_inventories  # noqa: E402

import fastbcd  # noqa: E402

project = "fastbcd"
author = "The fastbcd developers"
project_copyright = author
version = release = fastbcd.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosectionlabel",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    # In the folder _site:
    "mathml",
    "pages",
    "docstrings",
    "speed",
]
exclude_patterns = ["_site", "README.md", "gallery"]
nitpicky = False  # a word in backticks that is no name stays as it is

# Pages
myst_heading_anchors = 5
myst_fence_as_directive = ["math"]
# A block of output has no language, and a command line is no program.
highlight_language = "none"
copybutton_exclude = ".linenos, .gp"

# Gallery: the scripts of the folder gallery become the pages of the folder examples.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "gallery.Order",
    "reset_modules": ("matplotlib", "gallery.around"),
    "reset_modules_order": "both",
    "reference_url": {"fastbcd": None},
    "show_signature": False,
    "min_reported_time": float("inf"),  # no times on pages: the first script compiles for all
    "write_computation_times": False,
}

# API reference
autosectionlabel_prefix_document = True
default_role = "py:obj"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # docstrings say more
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Names of other projects. Their inventories are made here, so no build needs the net.
intersphinx_mapping = write_inventories(ROOT / "build" / "inventories")

# Look
html_theme = "furo"
html_title = f"fastbcd {release}"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_logo = "_site/static/logo.svg"
html_favicon = "_site/static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {
        "color-brand-primary": "#0b5f8a",
        "color-brand-content": "#0b5f8a",
        "color-brand-visited": "#0b5f8a",
        "color-api-name": "#0b5f8a",
        "color-api-pre-name": "#5a6b75",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7cc7ee",
        "color-brand-content": "#7cc7ee",
        "color-brand-visited": "#7cc7ee",
        "color-api-name": "#7cc7ee",
        "color-api-pre-name": "#9db0bb",
    },
}
