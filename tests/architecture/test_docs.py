"""The reference says what the code says, of hooks, services, settings, errors and commands."""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from docs import generate
from docs.pages import api, cli, services
from docs.pages import hooks as hooks_page
from docs.pages.code import plugin_classes, with_contrib
from kernel import errors, public
from kernel.config.settings import SECTIONS, load_config
from kernel.contracts import hookspecs
from kernel.contracts.access import Kind
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (generate.FOLDER / f"{name}.md").read_text("utf-8")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """Every built-in plugin, with the default configuration."""
    path = tmp_path_factory.mktemp("config") / "caudex.toml"
    path.touch()
    return load(load_config(str(path), environ={}))


@pytest.mark.slow
def test_the_generated_pages_are_current() -> None:
    assert generate.stale() == [], "run `make docs` and commit what it writes"


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = page("hooks")
    specs = [spec for spec in vars(hookspecs).values() if hasattr(spec, "caudex_spec")]
    assert len(specs) >= 18
    for spec in specs:
        section = text.split(f"### {spec.__name__}\n")[1].split("\n### ")[0]
        for argument in inspect.signature(spec).parameters:
            assert f"{argument}: " in section, f"{spec.__name__}: {argument}"


def test_every_service_is_documented_with_its_provider() -> None:
    text = page("services")
    for key in services.service_keys():
        assert f"`{key.name}`" in text
    for info in [info for each in with_contrib() for info in each.plugins]:
        for key in info.provides:
            assert f"`{info.name}`" in text, f"{info.name} provides {key}"


def test_every_setting_is_documented() -> None:
    text = page("config")
    structs = {f"[{name}]": struct for name, struct in SECTIONS.items()}
    structs |= {f"[plugins.{cls.name}]": cls.Config for cls in plugin_classes()}
    for title, struct in structs.items():
        section = text.split(f"# `{title}`\n")[1].split("\n#")[0]
        for field in msgspec.structs.fields(struct):
            [row] = [
                line for line in section.splitlines() if line.startswith(f"| `{field.encode_name}`")
            ]
            assert row.rstrip("| ").count("|") >= 4, f"{title} {field.encode_name} has no words"


def test_every_permission_and_every_need_is_documented(kernel: Kernel) -> None:
    text = page("permissions")
    for kind in Kind.__args__:  # type: ignore[attr-defined]
        assert kind.upper() in text.upper()
    for permission in kernel.permissions:
        assert f"`{permission.key}`" in text
    for _, route in kernel.routes:
        assert f"| `{route.method} {route.path}` | `{route.needs}` |" in text


def test_every_hook_of_the_kernel_says_when_where_and_how_often_it_is_called() -> None:
    known = {spec.__name__ for spec in hooks_page.specs(hookspecs)}
    assert known == set(hooks_page.FACTS)
    text = page("hooks")
    for row in ("when", "where", "order", "time limit", "delivery"):
        assert text.count(f"| {row} |") == len(known)
    writes = ("session_settings", "record_scope", "record_writing", "event_recorded")
    for name in (*writes, "event_committed"):
        section = text.split(f"### {name}\n")[1].split("### ")[0]
        assert "| SQL of workers | does not reach it" in section


@pytest.mark.slow
def test_every_public_name_is_documented() -> None:
    """Each has words of its own, each method has, and each number is explained with its unit."""
    text, found = page("api"), {each.name: each for each in api.names()}
    assert set(found) == set(public.__all__)
    for name, each in found.items():
        assert f"\n### {name}\n" in text
        assert len(each.doc) > 10, f"{name} has no docstring"
        if inspect.isclass(each.value) and each.value.__module__.startswith("kernel."):
            words = " ".join(
                [each.doc, *(f"{n} {text}" for n, text in api.fields(each.value).items())]
            )
            for number in numbers(each.value):
                assert re.search(rf"\b{number}\b", words), f"{name}: say what {number} counts"


def numbers(cls: type) -> list[str]:
    """The fields of a class that hold numbers and do not describe themselves."""
    _, node = api.class_source(cls)
    declared = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    texts = {ast.unparse(each.target): ast.unparse(each.annotation) for each in declared}
    return [
        name
        for name, kind in texts.items()
        if re.search(r"\b(int|float)\b", kind) and "description=" not in kind and name[0] != "_"
    ]


def test_public_functions_name_the_errors_that_they_raise() -> None:
    for name, function in functions():
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for node in ast.walk(tree):
            match node:
                case ast.Raise(exc=ast.Call(func=ast.Name(id=error))):
                    assert error in (function.__doc__ or ""), f"{name} raises {error}"
                case _:
                    pass


def functions() -> Iterator[tuple[str, Any]]:
    """Every public function, and every public method of a public class."""
    for each in api.names():
        if inspect.isfunction(each.value):
            yield each.name, each.value
        elif inspect.isclass(each.value) and each.value.__module__.startswith("kernel."):
            for name, function, _ in api.members(each.value):
                yield f"{each.name}.{name}", function


def test_every_error_is_documented() -> None:
    text = page("errors")
    for name, value in vars(errors).items():
        if inspect.isclass(value) and issubclass(value, Exception):
            assert f"`{name}`" in text


def test_every_command_is_documented(kernel: Kernel) -> None:
    text = page("cli")
    found = [pair for each in (kernel, *with_contrib()) for pair in cli.commands(each).items()]
    assert "vault-file" in dict(found)
    for name, command in found:
        assert f"\n## {name}" in text
        for each in (command, *getattr(command, "commands", {}).values()):
            for parameter in each.params:
                shown = (f"`{parameter.opts[0]}", f"`[{parameter.name}]")
                assert any(each in text for each in shown), f"{name} {parameter}"


def test_every_plugin_of_contrib_is_on_where_the_reference_looks() -> None:
    on = {info.name for kernel in with_contrib() for info in kernel.plugins if info.state == "on"}
    of_contrib = [cls for cls in plugin_classes() if cls.__module__.startswith("contrib.")]
    assert len(of_contrib) >= 6
    assert {cls.name for cls in of_contrib} <= on, "name it in docs/contrib.toml or docs/proxy.toml"


def test_every_setting_of_the_kernel_is_in_the_configuration_that_init_writes() -> None:
    text = (ROOT / "plugins/system/template.toml").read_text("utf-8")
    unfit = {"plugin_files", "embedded_port"}
    for name, struct in SECTIONS.items():
        section = text.split(f"\n[{name}]\n")[1].split("\n[")[0]
        for key in struct.__struct_fields__:
            assert key in unfit or f"# {key} = " in section, f"[{name}] {key}"


@pytest.mark.parametrize("path", ["docs/explanation/security.md", "docs/reference/asvs.md"])
def test_every_test_that_a_page_about_security_names_exists(path: str) -> None:
    names = set(re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / path).read_text("utf-8")))
    assert len(names) > 30
    assert [name for name in sorted(names) if not (ROOT / name).is_file()] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, where nothing can be downloaded."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    recipe = (ROOT / "Makefile").read_text("utf-8")
    (options,) = re.findall(r"\$\(python\) -m sphinx (.+) \. build/site", recipe)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options.split(), ".", str(folder)],
        cwd=ROOT, env=nowhere, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_holds_every_page(site: Path) -> None:
    folders = ("docs", "plugins", "contrib", "examples")
    pages = [path for name in folders for path in (ROOT / name).rglob("*.md")]
    others = (
        "plugins/scaffold/template",
        "plugins/authoring/template",
        "contrib/mcp/catalog/guide",
    )
    for folder in others:  # of a new plugin or app, or for agents
        for page in (ROOT / folder).rglob("*.md"):
            pages.remove(page)
    assert len(pages) > 30
    missing = [
        str(page) for page in pages
        if not (site / page.relative_to(ROOT).with_suffix(".html")).is_file()
    ]  # fmt: skip
    assert missing == []
    assert "docs/README.html" in (site / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]+")
    found = {hit for page in site.rglob("*.html") for hit in loads.findall(page.read_text("utf-8"))}
    assert found == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda p: p.stem)
def test_a_decision_has_a_status_and_a_date(path: Path) -> None:
    third_line = path.read_text("utf-8").splitlines()[2]
    assert re.fullmatch(r"Status: (accepted|proposed|replaced)\b.*, \d{4}-\d\d-\d\d\.", third_line)
