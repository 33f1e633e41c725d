"""The tables of a page of docs/: `python -m tests.kernel.mistakes.page` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.kernel.mistakes.background import BACKGROUND
from tests.kernel.mistakes.handlers import HANDLERS
from tests.kernel.mistakes.hooks import HOOKS
from tests.kernel.mistakes.mistake import MARK, Mistake
from tests.kernel.mistakes.sql import SQL

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "mistakes-of-plugins.md"
BEGIN = "<!-- The tables are made by `python -m tests.kernel.mistakes.page`. -->\n"
END = "<!-- end -->"
HEAD = "| what the plugin does | the line | the caller gets | the log says |\n|---|---|---|---|\n"
TABLES: Mapping[str, Mapping[str, Mistake]] = {
    "In statements": SQL,
    "In handlers and middleware": HANDLERS,
    "In hooks": HOOKS,
    "In the background": BACKGROUND,
}


def written() -> str:
    """Return the page with its tables as the mistakes are now."""
    head, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{''.join(_tables())}\n{END}{tail}"


def _tables() -> Iterator[str]:
    for title, mistakes in TABLES.items():
        yield f"\n## {title}\n\n{HEAD}"
        for name, mistake in mistakes.items():
            cells = (mistake.title, _line(name, mistake), _reply(mistake), _log(mistake))
            yield f"| {' | '.join(cells)} |\n"


def _line(name: str, mistake: Mistake) -> str:
    [line] = [line for line in mistake.text(name).splitlines() if line.endswith(MARK)]
    code = line.removesuffix(MARK).strip().replace("|", "\\|")
    return f"`{code}`"


def _reply(mistake: Mistake) -> str:
    return "its reply breaks off" if mistake.status is None else str(mistake.status)


def _log(mistake: Mistake) -> str:
    said = mistake.says.get("detail") or mistake.says.get("error") or mistake.says.get("reason")
    shown = f"{mistake.event}: {said}" if said else mistake.event
    return f"{shown}; {mistake.remedy}".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
