"""The documentation as a site. ``scripts/docs`` builds it, with the repository as the source."""

import re
from pathlib import Path

from pygments.lexers import BashLexer
from sphinx.application import Sphinx

project = "timestep"
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/api.rst"]
exclude_patterns = [".*", "build", "dist"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "timestep"
html_extra_path = ["index.html"]
myst_heading_anchors = 4
default_role = "code"
autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

_INDEX = Path(__file__).parent / "README.md"


def _add_contents(_: Sphinx, name: str, source: list[str]) -> None:
    """Put docs/README.md into the side bar of every page: a caption for each of its headings."""
    if name != root_doc:
        return
    source[0] += "\n\n```{toctree}\n:hidden:\n\n/docs/README\n```\n"
    for caption, links in re.findall(r"^## (.*)\n([^#]*)", _INDEX.read_text(), re.MULTILINE):
        pages = re.findall(r"\]\(([\w./]+)\.(?:md|rst)\)", links)
        paths = "\n".join(f"/{Path('docs', page)}" for page in pages)
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{paths}\n```\n"


def setup(app: Sphinx) -> None:
    """Connect the hook, and read .env files as the shell does."""
    app.add_lexer("dotenv", BashLexer)
    app.connect("source-read", _add_contents)
