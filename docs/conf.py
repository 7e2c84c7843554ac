"""Sphinx builds the site from the repository's root: README, docs/, notebooks and docstrings.

    make docs      # writes docs/_build/html; a warning is an error, and no network is used

The source folder is the root, so that each page has the links that it has on a forge.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import seqmodel  # noqa: E402 (found by the line above)

project = "seqmodel"
author = "seqmodel developers"
project_copyright = author
version = release = seqmodel.VERSION

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "examples/*.ipynb",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "data/demo/SOURCE.md",
]
exclude_patterns = [
    ".*",
    "docs/_build",
    "out",
    "tests",
    "seqmodel",
    "build",
    "dist",
    "*.egg-info",
]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]

# Markdown: headings are link targets, as on a forge.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
nb_execution_mode = "off"  # tests/test_notebooks.py runs them
nb_merge_streams = True

# Reference from the docstrings, in the order of the source.
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"seqmodel {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]  # the root of the site leads to docs/index.html
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
