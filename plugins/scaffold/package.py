"""From the template to a package: the plugin *sample* under another name.

The template is a plugin that works, so it is checked with everything else here; its name is
only where another name will be.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kernel.public import BadRequest

from .names import class_name, distribution

TEMPLATE: Final = Path(__file__).with_name("template")
SAMPLE: Final = "sample"
LEFT_BEHIND: Final = ("__pycache__", ".pytest_cache", ".ruff_cache")
"""What tools leave in a folder is no part of it."""


def write_package(name: str, folder: Path) -> None:
    """Write a package for the plugin `name` into a new folder. Raises BadRequest."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise BadRequest(f"{folder} exists: name another folder with --dir") from None
    except OSError as error:
        raise BadRequest(_explain(folder, error)) from None
    try:
        for source in _list_files():
            target = folder / _rename(str(source.relative_to(TEMPLATE)), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_rename(source.read_text("utf-8"), name), "utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BadRequest(_explain(folder, error)) from None


def _list_files() -> Iterator[Path]:
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file() and set(LEFT_BEHIND).isdisjoint(path.parts):
            yield path


def _rename(text: str, name: str) -> str:
    text = text.replace(distribution(SAMPLE), distribution(name))
    text = text.replace(class_name(SAMPLE), class_name(name))
    return text.replace(SAMPLE, name)


def _explain(folder: Path, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{folder} cannot be written ({reason}): name another"
