"""`caudex types ts` and `caudex types python`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from kernel.public import BadRequest
from plugins.authoring.output import Output
from plugins.authoring.project.folder import app_of, look_for_project
from plugins.authoring.server.access import open_server

from .entities import EntityType, read_entities
from .python import python
from .typescript import typescript

Write = Callable[[str, Sequence[EntityType]], str]


async def write_typescript(
    output: Output, *, url: str | None, app: str | None, file: Path | None
) -> int:
    """Write the types of what the caller may see, in TypeScript."""
    return await _write(output, url, app, file, typescript)


async def write_python(
    output: Output, *, url: str | None, app: str | None, file: Path | None
) -> int:
    """Write the types of what the caller may see, in Python."""
    return await _write(output, url, app, file, python)


async def _write(
    output: Output, url: str | None, app: str | None, file: Path | None, write: Write
) -> int:
    app_id = app_of(app)
    project = look_for_project()
    root = project.root if project is not None else None
    async with open_server(url, root) as server:
        entities = read_entities(await server.get(f"/api/v1/apps/{app_id}"))
    text = write(app_id, entities)
    names = [entity.name for entity in entities]
    if file is None:
        output.say(text.rstrip())
        output.result({"entities": names, "text": text})
        return 0
    _write_file(file, text)
    output.say(f"wrote {file}: {', '.join(names) or 'no entities'}")
    output.result({"entities": names, "file": str(file)})
    return 0


def _write_file(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise BadRequest(f"{file} cannot be written: {error.strerror}") from None
