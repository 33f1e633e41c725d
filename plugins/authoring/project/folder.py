"""The folder of an app, as `caudex app new` makes it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from kernel.public import BadRequest, read_small_file
from plugins.authoring.errors import ProjectMistake

MANIFEST: Final = "manifest.json"
ROLES: Final = "roles.json"
FRONTEND: Final = "frontend"
WORKER_FOLDER: Final = "worker"
ENTRIES: Final = (
    "worker.py", "main.py", "index.js", "index.ts", "main.js", "main.ts", "src/index.js",
    "src/index.ts", "src/main.js", "src/main.ts",
)  # fmt: skip
"""Files of which a worker has one."""
NO_CODE: Final = frozenset({
    MANIFEST, ROLES, FRONTEND, "tests", "data", "node_modules", "__pycache__", "venv",
})  # fmt: skip
"""Names at the top of a project that are no part of its worker; `data` is for records."""
LEFT_OUT: Final = frozenset({"__pycache__", "node_modules"})
MAX_FILES: Final = 20_000


class Project:
    """The folder of one app."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def app_id(self) -> str:
        """Return the id of the app. Raises ProjectMistake."""
        app_id = self.manifest().get("appId")
        if not isinstance(app_id, str) or not app_id:
            raise ProjectMistake(f"{MANIFEST}: appId is required")
        return app_id

    def manifest(self) -> dict[str, Any]:
        """Return the manifest. Raises ProjectMistake with the line of a mistake."""
        manifest = self._read_json(MANIFEST)
        if not isinstance(manifest, dict):
            raise ProjectMistake(f"{MANIFEST}: a manifest is an object")
        return cast("dict[str, Any]", manifest)

    def roles(self) -> list[dict[str, Any]]:
        """Return the roles of `roles.json`; none without that file. Raises ProjectMistake."""
        if not (self.root / ROLES).exists():
            return []
        roles = self._read_json(ROLES)
        if not _is_list_of_roles(roles):
            raise ProjectMistake(f"{ROLES}: write a list of roles, each with a name")
        return cast("list[dict[str, Any]]", roles)

    def worker_files(self) -> dict[str, Path]:
        """Return the files of the worker by their names in its archive; none without a worker."""
        folder = self.root / WORKER_FOLDER
        if folder.is_dir():
            files = dict(_walk(folder, frozenset()))
        else:
            files = dict(_walk(self.root, NO_CODE))
            files = {name: path for name, path in files.items() if not name.endswith(".md")}
        if not any(entry in files for entry in ENTRIES):
            return {}
        return files

    def frontend_files(self) -> dict[str, Path]:
        """Return the files of the frontend by their paths; none without one."""
        folder = self.root / FRONTEND
        if not (folder / "index.html").is_file():
            return {}
        return dict(_walk(folder, frozenset()))

    def _read_json(self, name: str) -> object:
        try:
            text = read_small_file(self.root / name).decode()
            return json.loads(text)
        except FileNotFoundError:
            raise ProjectMistake(f"{self.root / name} is missing") from None
        except json.JSONDecodeError as error:
            reason = error.msg[:1].lower() + error.msg[1:]
            raise ProjectMistake(f"{name}, line {error.lineno}: {reason}") from None
        except UnicodeDecodeError:
            raise ProjectMistake(f"{name} is not UTF-8") from None


def find_project(start: Path | None = None) -> Project:
    """Return the project of a folder or of one above it. Raises ProjectMistake."""
    project = look_for_project(start)
    if project is None:
        raise ProjectMistake(
            f"there is no {MANIFEST} here: change to the folder of an app, or make one with "
            "caudex app new NAME"
        )
    return project


def look_for_project(start: Path | None = None) -> Project | None:
    """Return the project of a folder or of one above it, or None."""
    folder = (start or Path.cwd()).absolute()
    for candidate in (folder, *folder.parents):
        if (candidate / MANIFEST).is_file():
            return Project(candidate)
    return None


def app_of(app_id: str | None) -> str:
    """Return the named app, else that of the project. Raises ProjectMistake."""
    return app_id or find_project().app_id


def _is_list_of_roles(value: object) -> bool:
    if not isinstance(value, list):
        return False
    items = cast("list[object]", value)
    return all(isinstance(item, dict) and "name" in item for item in items)


def _walk(folder: Path, left_out: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """Yield the plain files of a folder, without hidden ones. Raises BadRequest for a link."""
    count = 0
    for place, folders, files in os.walk(folder):
        is_top = Path(place) == folder
        skipped = LEFT_OUT | left_out if is_top else LEFT_OUT
        folders[:] = sorted(name for name in folders if not _is_skipped(name, skipped))
        for name in sorted(files):
            if _is_skipped(name, skipped):
                continue
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                raise BadRequest(f"{relative} is no plain file: replace it by one")
            count += 1
            if count > MAX_FILES:
                raise BadRequest(f"{folder} has more than {MAX_FILES} files")
            yield relative, path


def _is_skipped(name: str, skipped: frozenset[str]) -> bool:
    is_hidden = name.startswith(".") and name != ".well-known"
    return is_hidden or name in skipped or name.endswith((".pyc", "~"))


def same_json(one: object, other: object) -> bool:
    """Whether two documents are equal, whatever the order of members."""
    return _canonical(one) == _canonical(other)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def pick(value: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return some members of an object."""
    return {name: value[name] for name in names if name in value}
