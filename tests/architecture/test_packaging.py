"""What is installed is ours: no other distribution brings a package of these names."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import pytest

import caudex
from kernel import VERSION, public
from plugins.console.assets.vendored import VENDORED
from plugins.system.examination.doctor import _is_ours

ROOT = Path(__file__).parents[2]
OURS = ("kernel", "plugins", "contrib", "caudex")
BILL = json.loads((ROOT / "caudex.cdx.json").read_text("utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
FROM_AN_INDEX = re.compile(r"(?<![/\w])caudex\[|pip install (-\S+ )*['\"]?caudex(?![-\w])")
PLUGIN_PACKAGES = ("examples/hello_plugin", "plugins/scaffold/template")


def test_no_other_distribution_owns_files_of_our_packages() -> None:
    for distribution in distributions():
        if _is_ours(distribution.metadata["Name"]):
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
    hooks = ast.parse((ROOT / "kernel/contracts/hookspecs.py").read_text("utf-8"))
    for node in ast.walk(hooks):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kernel."):
            for name in node.names:
                known = hasattr(caudex, name.name) or name.name == "NAMESPACE"
                assert known, f"{name.name} of {node.module}"
    for path in (ROOT / "kernel/contracts").rglob("[!_h]*.py"):
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
    for name in ("requirements.lock", "requirements-build.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text


def test_every_dependency_is_locked() -> None:
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    for requirement in PROJECT["dependencies"]:
        name = requirement.partition(">")[0].partition("[")[0]
        assert f"\n{name}" in f"\n{locked}", name


def test_the_bill_of_materials_lists_what_is_locked_for_running() -> None:
    listed = {
        f"{component['name']}=={component['version']}"
        for component in BILL["components"]
        if component["purl"].startswith("pkg:pypi/")
    }
    locked = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    elsewhere = [line for line in locked if "sys_platform == 'win32'" in line]
    pinned = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?(==[\w.]+)")
    lines = [line for line in locked if line not in elsewhere]
    assert BILL["bomFormat"] == "CycloneDX"
    assert listed == {match[1] + match[2] for match in map(pinned.match, lines) if match}


def test_the_bill_of_materials_lists_vendored_files_by_their_hashes() -> None:
    listed = {
        (part["name"], component["version"], part["hashes"][0]["content"])
        for component in BILL["components"]
        for part in component.get("components", ())
    }
    assert listed == {
        (f"plugins/console/web/vendor/{file.file}", file.version, file.sha256) for file in VENDORED
    }


def test_the_bill_of_materials_has_licences_hashes_the_graph_and_our_version() -> None:
    root = BILL["metadata"]["component"]
    assert (root["name"], root["version"]) == ("caudex-core", VERSION)
    names = {component["bom-ref"] for component in BILL["components"]}
    for component in BILL["components"]:
        assert component["licenses"], component["name"]
        assert component.get("hashes") or component["components"], component["name"]
    needs = {edge["ref"]: set(edge["dependsOn"]) for edge in BILL["dependencies"]}
    assert needs.keys() == names | {root["bom-ref"]}
    reached = set[str]()
    waiting = [root["bom-ref"]]
    while waiting:
        name = waiting.pop()
        waiting += needs[name] - reached
        reached |= needs[name]
    assert reached == names


@pytest.mark.parametrize("name", ["psycopg", "starlette", "uvicorn"])
def test_a_library_whose_private_parts_are_used_has_an_upper_bound(name: str) -> None:
    [requirement] = [
        each for each in PROJECT["dependencies"] if each.startswith((name, f"{name}["))
    ]
    assert ",<" in requirement


def test_what_builds_is_not_locked_for_running() -> None:
    tools = (ROOT / "requirements-build.lock").read_text("utf-8")
    assert "\nhatchling==" in tools
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    for tool in ("editables", "hatchling", "trove-classifiers"):
        assert f"\n{tool}==" not in locked


def test_nothing_leads_to_the_project_of_our_name_on_pypi() -> None:
    """Another author owns that project: no page or message may lead to its installation."""
    folders = ("kernel", "plugins", "contrib", "examples", "docs")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    for path in [*paths, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if path.suffix in (".md", ".py", ".toml", ".html"):
            assert not (found := FROM_AN_INDEX.search(path.read_text("utf-8"))), (path, found)


@pytest.mark.parametrize("place", PLUGIN_PACKAGES)
def test_the_package_of_a_plugin_depends_on_caudex_core(place: str) -> None:
    project = tomllib.loads((ROOT / place / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"] == ["caudex-core>=0.2"]
    assert project["optional-dependencies"] == {"testing": ["caudex-core[testing]>=0.2"]}


@pytest.mark.parametrize("plugin", sorted(set(EXTRAS) - {"testing"}))
def test_a_plugin_names_the_package_that_its_extra_brings(plugin: str) -> None:
    [needed] = EXTRAS[plugin]
    folder = ROOT / "contrib" / plugin
    for texts in ([folder / "README.md"], folder.glob("*.py")):
        assert any(f"pip install '{needed}'" in path.read_text("utf-8") for path in texts), plugin
