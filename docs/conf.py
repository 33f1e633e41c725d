"""The site of the documentation, which `make docs` builds without a download.

The pages are the Markdown files that are read in the repository too: those of docs/, and the
README of each plugin and example. So they hold no directives; what a site needs is added here.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
HOME = "docs/README"
TREE = {
    "Start": ["docs/quickstart"],
    "How-to": ["docs/howto/*"],
    "Explanation": ["docs/explanation/*", "docs/glossary", "docs/agents"],
    "Reference": ["docs/reference/*"],
    "Plugins": ["plugins/*/README"],
    "More plugins": ["contrib/*/README"],
    "Clients": ["contrib/clients/*/README"],
    "Examples": ["examples/README", "examples/*/README"],
    "Project": ["CONTRIBUTING", "CHANGELOG", "docs/adr/*"],
}

project = "Caudex"
extensions = ["myst_parser"]
root_doc = HOME
include_patterns = [
    "docs/*.md", "docs/**/*.md", "plugins/*/README.md", "contrib/*/README.md",
    "contrib/clients/*/README.md",
    "examples/README.md", "examples/**/README.md", "CHANGELOG.md", "CONTRIBUTING.md",
]  # fmt: skip
exclude_patterns = ["**/.*", "**/node_modules", "build"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "Caudex"
html_extra_path = ["site"]
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Hang every page below the first one."""
    app.connect("source-read", _hang)


def _hang(_: Sphinx, page: str, source: list[str]) -> None:
    if page == HOME:
        source[0] += "".join(map(_toctree, TREE, TREE.values()))


def _toctree(title: str, pages: list[str]) -> str:
    found = [page for page in pages if any(ROOT.glob(f"{page}.md"))]
    lines = "\n".join(f"/{page}" for page in found)
    return f"\n\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {title}\n\n{lines}\n```\n" * bool(
        found
    )
