"""What is installed is ours: no other distribution brings a package of these names."""

import ast
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import caudex
from kernel import public

ROOT = Path(__file__).parents[2]
OURS = ("kernel", "plugins", "contrib", "caudex")


def test_no_other_distribution_owns_files_of_our_packages() -> None:
    for distribution in distributions():
        if distribution.metadata["Name"] == "caudex":
            continue
        for file in distribution.files or ():
            first = file.parts[0].removesuffix(".py")
            assert first not in OURS, f"{distribution.metadata['Name']} brings {file}"


def test_our_packages_are_imported_from_here() -> None:
    for name in OURS:
        module = __import__(name)
        assert Path(module.__file__ or "").is_relative_to(ROOT), name


def test_authors_get_every_public_name_from_caudex() -> None:
    assert set(public.__all__) <= set(dir(caudex))
    assert caudex.Plugin is public.Plugin


def test_authors_get_what_hooks_and_contracts_speak_of_from_caudex() -> None:
    """Without a look into the kernel: each type of a hook's signature, each name of a contract."""
    hooks = ast.parse((ROOT / "kernel/hookspecs.py").read_text("utf-8"))
    for node in ast.walk(hooks):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kernel."):
            for name in node.names:
                assert hasattr(caudex, name.name), f"{name.name} of {node.module}"
    for path in (ROOT / "kernel/contracts").glob("[!_]*.py"):
        for name in _declared(path):
            assert hasattr(caudex, name) or name in ("T", "shape"), f"{name} of {path.name}"


def _declared(path: Path) -> Iterator[str]:
    """Names without an underscore that a module declares."""
    for node in ast.parse(path.read_text("utf-8")).body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names = [name]
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_"))


def test_the_lock_names_no_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    for requirement in project["dependencies"]:
        name = requirement.partition(">")[0].partition("[")[0]
        assert f"\n{name}" in f"\n{locked}", name
