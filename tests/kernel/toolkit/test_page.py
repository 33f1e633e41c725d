"""The code on the toolkit's page runs."""

import ast
import inspect
from typing import Any

import pytest

from tests.pages import ROOT, blocks

PAGE = ROOT / "docs" / "howto" / "use-the-toolkit.md"
PYTHON = [block.text for block in blocks(PAGE.read_text("utf-8")) if block.language == "python"]


@pytest.mark.parametrize("text", PYTHON, ids=range(1, len(PYTHON) + 1))
async def test_a_block_of_the_page_runs(text: str):
    code = compile(text, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result: Any = eval(code, {"__name__": "page"})
    if inspect.iscoroutine(result):
        await result
