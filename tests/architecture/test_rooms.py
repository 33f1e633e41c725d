"""Every plugin has the same structure, so that a reader of one can read the next."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import msgspec
import pytest

import contrib
import plugins
from docs.pages.code import readme_rows, with_contrib
from kernel import public
from kernel.contracts.base import ServiceKey
from kernel.hooks.plugin import Plugin
from kernel.loading.loader import OWN_KEYS
from plugins.audit.models import SYSTEM_OPERATIONS
from tests.architecture.code_lines import code_lines

FOLDERS = [
    folder
    for package in (plugins, contrib)
    for folder in sorted(Path(package.__path__[0]).iterdir())
    if folder.is_dir() and not folder.name.startswith("__") and folder.name != "clients"
]
"""Every plugin; contrib/clients/ holds libraries of clients."""
ROOMS = {"config", "models", "errors", "routes", "service", "store", "hookspecs"}
RENAMED = {
    "settings": "config", "schemas": "models", "types": "models", "exceptions": "errors",
    "api": "routes", "views": "routes", "handlers": "routes", "controllers": "routes",
    "services": "service", "logic": "service", "db": "store", "database": "store",
    "queries": "store", "repository": "store", "sql": "store",
}  # fmt: skip
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "base", "core", "tools", "lib"}
PLAIN = {"provide_services", "register_routes", "register_commands"}
"""Hooks that show in what a README says of services, routes and commands."""
WALLS = {"service": "starlette", "store": "starlette", "routes": "psycopg"}

SQL = re.compile(r"(?i)\s*(select\s.+\sfrom|insert into|update \w+ set|delete from)\s")


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def plugin_class(folder: Path) -> type[Plugin]:
    module = importlib.import_module(f"{folder.parent.name}.{folder.name}")
    [cls] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Plugin) and value is not Plugin
    ]
    return cls


def provided(cls: type[Plugin]) -> set[str]:
    """Names of the services that a plugin provides."""
    infos = [info for kernel in with_contrib() for info in kernel.plugins if info.name == cls.name]
    return {name for info in infos for name in info.provides}


def test_it_has_one_plugin_class_by_the_name_of_its_folder(folder: Path) -> None:
    cls = plugin_class(folder)
    assert cls.name == folder.name
    assert cls.__name__ == "".join(word.title() for word in folder.name.split("_")) + "Plugin"
    assert cls.__doc__


def test_no_room_is_renamed_or_vague(folder: Path) -> None:
    """A file `settings.py` may exist beside `config.py`, not in its place."""
    for path in folder.rglob("*.py"):
        assert path.stem not in VAGUE, f"{path}: say what it holds"
        if room := RENAMED.get(path.stem):
            assert (folder / f"{room}.py").is_file(), f"{path}: the room is called {room}.py"


def test_no_room_is_empty(folder: Path) -> None:
    for room in ROOMS:
        path = folder / f"{room}.py"
        assert not path.is_file() or code_lines(path), f"{path}: leave it out"


def test_every_file_says_what_it_is_for(folder: Path) -> None:
    for path in folder.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_the_readme_names_what_the_plugin_gives_and_needs(folder: Path) -> None:
    text, cls = (folder / "README.md").read_text("utf-8"), plugin_class(folder)
    for name in {*provided(cls), *(key.name for key in cls.requires)}:
        assert re.search(rf"`{name}`", text, re.IGNORECASE), f"{name} is not in README.md"
    for name, value in vars(cls).items():
        if hasattr(value, "caudex_impl") and name not in PLAIN:
            assert f"`{name}`" in text, f"the hook {name} is not in README.md"


def test_the_readme_explains_every_key_of_the_configuration(folder: Path) -> None:
    cls = plugin_class(folder)
    explained = readme_rows(cls)
    for field in msgspec.structs.fields(cls.Config):
        assert field.encode_name in explained, f"{field.encode_name} has no row in README.md"
        assert field.encode_name not in OWN_KEYS


def test_the_configuration_is_in_its_room(folder: Path) -> None:
    config = plugin_class(folder).Config
    if msgspec.structs.fields(config):
        assert config.__module__ == f"{folder.parent.name}.{folder.name}.config"
        assert config.__struct_config__.forbid_unknown_fields
        assert config.__struct_config__.frozen


def test_rooms_keep_to_their_business(folder: Path) -> None:
    """Rules and statements know no HTTP; routes and rules hold no SQL."""
    for room, foreign in WALLS.items():
        path = folder / f"{room}.py"
        text = path.read_text("utf-8") if path.is_file() else ""
        assert not re.search(rf"(?m)^\s*(?:from|import) {foreign}\b", text), path
    for room in ("routes", "service"):
        path = folder / f"{room}.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8"))) if path.is_file() else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not SQL.match(node.value), f"{path}:{node.lineno}: SQL is the store's"


def test_migrations_are_numbered_without_a_gap_and_keep_to_their_schema(folder: Path) -> None:
    files = sorted((folder / "migrations").glob("*.sql"))
    numbered = [path for path in files if not path.name.endswith(".adopt.sql")]
    assert [int(path.name[:4]) for path in numbered] == list(range(1, len(numbered) + 1))
    for path in files:
        text = re.sub(r"--.*|'[^']*'", "", path.read_text("utf-8"))
        for schema in re.findall(r"\bcaudex_(\w+)\.", text):
            assert schema in (folder.name, "kernel"), f"{path} touches caudex_{schema}"


def test_the_trail_knows_what_the_system_reports(folder: Path) -> None:
    """Else a search for it would be refused until it first happened."""
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    for operation in re.findall(r'(?s)Event\([^()]*?operation="(\w+)"', text):
        assert operation in SYSTEM_OPERATIONS, operation


def test_it_declares_every_service_that_it_asks_for(folder: Path) -> None:
    """`caudex plugins`, its plan and the order of starts go by what is declared."""
    cls = plugin_class(folder)
    declared = provided(cls) | {key.name for key in (*cls.requires, *cls.uses, *cls.finds)}
    asked = {
        name
        for path in folder.glob("*.py")
        for name in re.findall(r"services\.(?:get|find)\(([A-Z_]+)\)", path.read_text("utf-8"))
        if isinstance(key := getattr(public, name, None), ServiceKey) and key.name not in declared
    }
    assert not asked


WHERE = re.compile(r"(?ms)^## (?:Where it lives|Where to find it|Modules)\n(.*?)(?=^## |\Z)")
"""The sections of a README that say in which object or module something is."""


def test_the_readme_names_objects_and_modules_that_exist(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    names = {name for part in WHERE.findall(text) for name in re.findall(r"`([^`\s]+)`", part)}
    root = Path(public.__file__).parents[1]
    homes = (folder, root / "kernel")
    paths = {name for name in names if name.endswith((".py", "/"))}
    missing = {name for name in paths if not any((home / name).exists() for home in (folder, root))}
    classes = {name for name in names if re.fullmatch(r"(?:[A-Z][a-z]+)+", name)}
    for path in (path for home in homes if classes for path in home.rglob("*.py")):
        classes -= set(re.findall(r"^class (\w+)", path.read_text("utf-8"), re.MULTILINE))
    assert not missing | classes
