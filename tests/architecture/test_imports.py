"""Import rules: the contracts of pyproject.toml."""

import subprocess
import sys
from pathlib import Path

from tests.architecture import cycles

ROOT = Path(__file__).parents[2]


def test_the_import_contracts_are_kept() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--no-logo", "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = cycles.read_graph(ROOT, ("kernel", "plugins", "contrib"))
    circles = cycles.find_circles(graph)
    assert not circles, "give one of them a Protocol of what it needs, or move what both need"


def test_a_circle_is_found_where_types_are_imported_too(tmp_path: Path) -> None:
    texts = {
        "shop/__init__.py": "",
        "shop/till.py": "if TYPE_CHECKING:\n    from .books import Books\n",
        "shop/books.py": "from shop.trade import sell\n",
        "shop/trade.py": "def sell():\n    from . import till\n",
        "shop/door.py": "from .till import Till\nimport shop.books\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = cycles.read_graph(tmp_path, ("shop",))
    assert graph["shop.door"] == {"shop.till", "shop.books"}
    assert cycles.find_circles(graph) == [["shop.books", "shop.till", "shop.trade"]]
