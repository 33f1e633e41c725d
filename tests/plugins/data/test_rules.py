"""The table of rules names tests that exist."""

import re
from pathlib import Path

FOLDER = Path(__file__).parent


def test_the_table_names_tests_that_exist() -> None:
    named = re.findall(r"`(\S+\.py)::(test_\w+)`", (FOLDER / "README.md").read_text("utf-8"))
    assert len(named) > 50
    for file, test in named:
        tests = FOLDER.parents[1] if file.startswith("contrib/") else FOLDER.parent
        path = tests / file if "/" in file else FOLDER / file
        assert f"def {test}(" in path.read_text("utf-8"), f"{file}::{test}"
