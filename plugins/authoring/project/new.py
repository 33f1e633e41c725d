"""`caudex app new`: a folder from a template."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from kernel.public import BadRequest, title_of
from plugins.authoring.output import Output

from .names import check_name
from .tables import CsvApp, read_app

TEMPLATES: Final = Path(__file__).parents[1] / "template"
CLIENT: Final = Path(__file__).parents[3] / "contrib/clients/js"
"""The JavaScript client. Its files are copied, so that a frontend needs no build."""
CLIENT_FILES: Final = ("*.js", "index.d.ts")
LAYERS: Final[Mapping[str, Sequence[str]]] = {
    "blank": ("shared", "blank"),
    "crm": ("shared", "kit", "crm"),
    "helpdesk": ("shared", "kit", "helpdesk"),
}
"""The folders that make a template; `kit` has the pieces of frontends of complete products."""
SAMPLE: Final = "sample_app"
SAMPLE_TITLE: Final = "Sample app"
LEFT_BEHIND: Final = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache"})
TEXTS: Final = frozenset({".py", ".json", ".md", ".html", ".js", ".css", ".toml", ".svg", ""})
"""Suffixes of files in which the names of the sample are replaced; others are copied."""


async def new(
    output: Output, *, name: str, files: Sequence[Path], template: str, folder: Path | None
) -> int:
    """Make the folder of an app, and say how to go on."""
    check_name(name)
    csv_app: CsvApp | None = None
    if template == "from-csv":
        if not files:
            raise click.UsageError("name the CSV files: caudex app new NAME --template from-csv F…")
        csv_app = read_app(name, files)
    elif files:
        raise click.UsageError("only --template from-csv takes files")
    target = folder or Path(name)
    _make_folder(target)
    try:
        written = _write(target, name, template, csv_app)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise BadRequest(_explain(target, error)) from None
    _report(output, target, csv_app, written)
    return 0


def _make_folder(target: Path) -> None:
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise BadRequest(f"{target} exists: name another folder with --dir") from None
    except OSError as error:
        raise BadRequest(_explain(target, error)) from None


def _write(target: Path, name: str, template: str, csv_app: CsvApp | None) -> list[str]:
    """Write the template, and over it what follows from CSV files. Returns the paths."""
    base = template if csv_app is None else "blank"
    contents: dict[str, bytes] = {}
    for layer in LAYERS[base]:
        contents.update(_read_layer(layer))
    renamed = {path: _rename(path, content, name) for path, content in contents.items()}
    renamed.update(_read_client())
    if csv_app is not None:
        renamed.update(csv_app.files())
    for path, content in sorted(renamed.items()):
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return sorted(renamed)


def _read_layer(layer: str) -> dict[str, bytes]:
    folder = TEMPLATES / layer
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files_of(folder)}


def _read_client() -> dict[str, bytes]:
    """Return the JavaScript client as files of the frontend."""
    paths = [path for pattern in CLIENT_FILES for path in CLIENT.glob(pattern)]
    return {f"frontend/caudex/{path.name}": path.read_bytes() for path in paths}


def _files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and LEFT_BEHIND.isdisjoint(path.parts):
            yield path


def _rename(path: str, content: bytes, name: str) -> bytes:
    """Replace the names of the sample in texts."""
    if Path(path).suffix not in TEXTS:
        return content
    text = content.decode()
    return text.replace(SAMPLE, name).replace(SAMPLE_TITLE, title_of(name)).encode()


def _report(output: Output, target: Path, csv_app: CsvApp | None, written: list[str]) -> None:
    if csv_app is not None:
        for sentence in csv_app.summary():
            output.say(sentence)
    output.say(f"created {target}; next:\n")
    for line in (f"cd {target}", "caudex app dev"):
        output.say(f"    {line}")
    entities = None
    if csv_app is not None:
        output.say("\nThen, in a second terminal in that folder, the rows:\n")
        for command in csv_app.list_imports():
            output.say(f"    {command}")
        entities = csv_app.manifest["dataContract"]
    output.result({"folder": str(target), "files": written, "entities": entities})


def _explain(folder: Path, error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{folder} cannot be written ({reason}): name another"
