"""Write the reference pages from the code: `python -m docs.generate`, or `--check` to compare.

A page shows signatures, docstrings and defaults as the code has them. Further explanation belongs
to the other folders of docs/.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from docs import statements
from docs.pages import api, cli, config, errors, hooks, permissions, rest, services, testing
from kernel.config.settings import load_config
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Made by `python -m docs.generate`: change the code, not this page. -->\n\n"
PAGES: Mapping[str, Callable[[Kernel], str]] = {
    "api": api.page,
    "cli": cli.page,
    "config": config.page,
    "errors": errors.page,
    "hooks": hooks.page,
    "permissions": permissions.page,
    "rest": rest.page,
    "rest-contrib": rest.contrib_page,
    "services": services.page,
    "testing": testing.page,
}


def generate() -> dict[Path, str]:
    """Return what each page should say."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as defaults:
        kernel = load(load_config(defaults.name, environ={}))
    pages = {FOLDER / f"{name}.md": NOTE + page(kernel) for name, page in PAGES.items()}
    # The other part of this page needs a database: `docs.database` writes it, and a test compares.
    return pages | {statements.PAGE: statements.with_fixed_part(statements.PAGE.read_text("utf-8"))}


def stale() -> list[str]:
    """Return the names of pages that do not say what the code says."""
    return [
        path.name
        for path, text in generate().items()
        if not path.is_file() or path.read_text("utf-8") != text
    ]


def main() -> int:
    """Write the pages, or with `--check` say which are stale."""
    if "--check" in sys.argv[1:]:
        if names := stale():
            print(f"stale: {', '.join(names)}; run `make docs`", file=sys.stderr)
        return bool(names)
    FOLDER.mkdir(exist_ok=True)
    for path, text in generate().items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
