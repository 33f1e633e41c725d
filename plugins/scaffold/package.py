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
        raise BadRequest(_said(folder, error)) from None
    try:
        for source in _files():
            target = folder / _renamed(str(source.relative_to(TEMPLATE)), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_renamed(source.read_text("utf-8"), name), "utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise BadRequest(_said(folder, error)) from None


def _files() -> Iterator[Path]:
    for path in sorted(TEMPLATE.rglob("*")):
        if path.is_file() and not set(LEFT_BEHIND) & set(path.parts):
            yield path


def _renamed(text: str, name: str) -> str:
    text = text.replace(distribution(SAMPLE), distribution(name))
    return text.replace(class_name(SAMPLE), class_name(name)).replace(SAMPLE, name)


def _said(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be written ({(error.strerror or str(error)).lower()}): name another"
