"""`caudex plugin new`: what it makes is clean, passes its own tests, installs and serves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from kernel.testing import Postgres, running_server

ROOT = Path(__file__).parents[3]
TEMPLATE = ROOT / "plugins/scaffold/template"
NAME = "order_mail"
LONGEST = "a23456789012345678901234567890"
NO_DATABASE = {"CAUDEX_DATABASE__URL": "postgresql://127.0.0.1:1/none"}
LIMIT = 300
"""Seconds for a command on a busy machine."""


def run(
    *command: object, folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True,
        text=True, timeout=LIMIT, check=False,
    )  # fmt: skip


def tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def new(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command where no database answers."""
    command = (sys.executable, "-m", "kernel", "plugin", "new", *words)
    return run(*command, folder=folder, environment=NO_DATABASE)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that was just made."""
    folder = tmp_path_factory.mktemp("made")
    done = new(folder, NAME)
    assert (done.returncode, done.stderr) == (0, "")
    assert "created caudex-plugin-order-mail; next:" in done.stdout
    return folder / "caudex-plugin-order-mail"


def test_it_has_the_rooms_of_a_plugin(package: Path) -> None:
    found = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    rooms = ("__init__", "config", "errors", "models", "routes", "service", "store")
    assert found == {
        ".github/workflows/ci.yml", ".gitignore", "AGENTS.md", "PUBLISHING.md", "README.md",
        "caudex.toml", "pyproject.toml",
        *(f"caudex_order_mail/{room}.py" for room in rooms),
        "caudex_order_mail/py.typed", "caudex_order_mail/migrations/0001_notes.sql",
        "tests/test_order_mail.py", "tests/test_rules.py",
    }  # fmt: skip


def test_nothing_of_the_template_shows(package: Path) -> None:
    for path in package.rglob("*"):
        assert "sample" not in path.name.lower()
        if path.is_file():
            assert "sample" not in path.read_text("utf-8").lower(), path


def test_its_ci_runs_what_its_pages_say(package: Path) -> None:
    [job] = yaml.safe_load((package / ".github/workflows/ci.yml").read_text("utf-8"))[
        "jobs"
    ].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert "pytest" in commands
    build = "pip wheel --no-deps --wheel-dir dist ."
    assert build in commands
    assert build in (package / "PUBLISHING.md").read_text("utf-8")
    assert "ruff check . && ruff format --check ." in commands
    agents = (package / "AGENTS.md").read_text("utf-8")
    assert "`ruff check . && ruff format --check .`" in agents
    assert "caudex-plugin-order-mail" in (package / "PUBLISHING.md").read_text("utf-8")


def test_the_entry_point_names_the_class(package: Path) -> None:
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "caudex-plugin-order-mail"
    assert project["entry-points"]["caudex.plugins"] == {NAME: "caudex_order_mail:OrderMailPlugin"}


@pytest.mark.slow
def test_its_types_are_strictly_right(package: Path) -> None:
    done = run(tool("basedpyright"), "--pythonpath", sys.executable, folder=package)
    assert done.returncode == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x", NAME, LONGEST])
def test_its_style_is_clean_whatever_its_name(tmp_path: Path, name: str) -> None:
    assert new(tmp_path, name, "--dir", "made").returncode == 0
    for check in (("check",), ("format", "--check")):
        done = run(tool("ruff"), *check, "--no-cache", ".", folder=tmp_path / "made")
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_its_own_tests_pass(package: Path, postgres: Postgres) -> None:
    environment = {"CAUDEX_TEST_DATABASE_URL": postgres.url}
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = run(*command, folder=package, environment=environment)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\n1[5-9] passed", done.stdout), done.stdout


@pytest.mark.slow
def test_installed_and_named_in_a_configuration_it_serves(
    package: Path, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        "--no-index", "--disable-pip-version-check", "--target", tmp_path / "site", package,
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(tmp_path / "site")
    plugins = tomllib.loads((package / "caudex.toml").read_text("utf-8"))["plugins"]
    assert plugins == {NAME: {"most": 50}}
    with running_server(postgres, {"plugins": plugins}) as server:
        [info] = [info for info in server.kernel.plugins if info.name == NAME]
        assert (info.state, info.origin) == ("on", "caudex-plugin-order-mail 0.1.0")
        made = server.admin.post("/api/v1/order_mail/notes", json={"text": "Hello"})
        assert made.status_code == 201
    with running_server(postgres) as server:
        assert server.admin.get("/api/v1/order_mail/notes").status_code == 404


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Order-Mail", "'Order-Mail' is no name for a plugin: .*(order_mail?)"),
        ("", "'' is no name for a plugin"),
        ("9lives", "'9lives' is no name for a plugin"),
        ("../x", "'../x' is no name for a plugin"),
        (LONGEST + "x", "30 at most"),
        ("vault", "the name 'vault' is taken by a plugin of plugins/"),
        ("kernel", "the name 'kernel' is taken by the kernel"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(tmp_path: Path, name: str, said: str) -> None:
    done = new(tmp_path, name)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"caudex: .*{re.escape(said).replace(re.escape('.*'), '.*')}.*\n",
                        done.stderr), done.stderr  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_folder_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/mine.txt").write_text("mine", "utf-8")
    done = new(tmp_path, "notes", "--dir", "there")
    assert done.returncode == 1
    assert done.stderr == "caudex: there exists: name another folder with --dir\n"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = new(tmp_path, "notes", "--dir", "file/inside")
    assert done.returncode == 1
    assert re.fullmatch(r"caudex: file/inside cannot be written \(not a directory\).*\n",
                        done.stderr), done.stderr  # fmt: skip


def test_the_wheel_brings_the_template(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path,
               folder=ROOT)  # fmt: skip
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    files = [path for path in TEMPLATE.rglob("*") if path.is_file()]
    kept = [path for path in files if not {"__pycache__", ".ruff_cache"} & set(path.parts)]
    assert {path.relative_to(ROOT).as_posix() for path in kept} <= shipped
    assert "kernel/testing/nothing.toml" in shipped
