"""The wheel is whole: it serves from an empty environment, without a clone. The container files."""

from __future__ import annotations

import io
import json
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import httpx
import pytest
import yaml

from kernel import VERSION
from kernel.config.settings import load_config
from kernel.testing import Postgres, running_server
from kernel.testing.servers import NO_TLS
from plugins.console.assets.vendored import VENDORED
from tests.kernel.processes import environment
from tests.plugins.audit.evidence.support import seal
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
CONTAINER = (ROOT / "Containerfile").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
WORKER = """
from caudex_worker import Worker

worker = Worker()


@worker.rpc
def greet(params, ctx):
    return "hello " + params["name"]


worker.run()
"""


def run(*words: object, folder: Path, **more: str) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=environment(more), capture_output=True,
        text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    [path] = folder.glob("*.whl")
    assert path.name == f"caudex_core-{VERSION}-py3-none-any.whl"
    return path


@pytest.mark.slow
def test_the_wheel_has_every_file_of_its_packages(wheel: Path) -> None:
    tracked = run("git", "ls-files", "kernel", "plugins", "contrib", folder=ROOT).splitlines()
    kept = set(zipfile.ZipFile(wheel).namelist())
    assert {"caudex/__init__.py", "caudex/py.typed"} <= kept
    assert f"caudex_core-{VERSION}.dist-info/sboms/caudex.cdx.json" in kept
    licences = f"caudex_core-{VERSION}.dist-info/licenses"
    assert f"{licences}/LICENSE" in kept
    for file in VENDORED:
        assert f"{licences}/plugins/console/licences/{file.licence_file}" in kept
    # This one is `caudex/__init__.py`; see pyproject.toml.
    assert set(tracked) - kept <= {"kernel/caudex.py"}
    for ending in (".sql", ".js", ".css", ".html", ".json", ".toml"):
        assert any(name.endswith(ending) for name in kept), ending


@pytest.mark.slow
def test_the_wheel_serves_from_an_empty_environment_without_a_clone(
    wheel: Path, postgres: Postgres, tmp_path: Path
) -> None:
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", folder=tmp_path)
    python, caudex = tmp_path / "venv/bin/python", tmp_path / "venv/bin/caudex"
    run(uv, "pip", "install", "--quiet", "--python", python, "--constraint",
        ROOT / "requirements.lock", wheel, folder=tmp_path)  # fmt: skip
    where = run(python, "-c", "import kernel; print(kernel.__file__)", folder=tmp_path)
    assert Path(where).is_relative_to(tmp_path)
    assert run(caudex, "--version", folder=tmp_path) == f"caudex {VERSION}\n"
    run(caudex, "plugin", "new", "extra", "--dir", tmp_path / "extra", folder=tmp_path)
    assert (tmp_path / "extra/caudex_extra/__init__.py").is_file()
    log = tmp_path / "serve.log"
    database = postgres.create()
    own = {"CAUDEX_DATABASE__URL": database, "CAUDEX_DATA_DIR": str(tmp_path / "data")}
    with log.open("w") as out:
        process = subprocess.Popen(
            [caudex, "serve", "--port", "0"], cwd=tmp_path, env=environment(own), stderr=out,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        found = eventually(
            lambda: re.search(r"on (http://\S+)", log.read_text()), 90, log.read_text
        )
        with httpx.Client(base_url=found[1], timeout=60, verify=NO_TLS) as client:
            _use(client)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(40)
        postgres.drop(database)
    assert status == 0, log.read_text()


def _use(client: httpx.Client) -> None:
    """Ask for what needs files beside the code: tables, the page, the SDK."""
    assert client.get("/health/ready").status_code == 200
    assert "<html" in client.get("/console/").text
    body = {"username": "ada", "password": "Str0ngPass!x"}
    assert client.post("/api/v1/auth/register", json=body).status_code == 201
    token = client.post("/api/v1/auth/login", json=body).json()["accessToken"]
    client.headers["authorization"] = f"Bearer {token}"
    client.post("/api/v1/apps", json={"appId": "crm", "name": "CRM"}).raise_for_status()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("worker.py")
        entry.size = len(WORKER)
        archive.addfile(entry, io.BytesIO(WORKER.encode()))
    deployed = client.post("/api/v1/apps/crm/deploy", files={"archive": packed.getvalue()})
    assert deployed.status_code == 200, deployed.text
    call = {"method": "greet", "params": {"name": "Ada"}}
    assert client.post("/api/v1/apps/crm/rpc", json=call).json() == "hello Ada"


@pytest.mark.slow
def test_an_auditor_needs_the_wheel_the_export_and_the_key(
    wheel: Path, postgres: Postgres, tmp_path: Path
) -> None:
    """No server, no database, no configuration: the files of the wheel are all that it imports."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "wheel")
    with running_server(postgres) as server:
        _ = server.admin
        seal(server)
        export = server.admin.get("/api/v1/audit/export?proofs=true").content
        key = server.admin.get("/api/v1/audit/evidence").json()["key"]
    file = tmp_path / "trail.ndjson"
    file.write_bytes(export)
    here = {"PYTHONPATH": str(tmp_path / "wheel"), "HOME": str(tmp_path)}
    where = run(
        sys.executable, "-c", "import kernel; print(kernel.__file__)", folder=tmp_path, **here
    )
    assert Path(where).is_relative_to(tmp_path)
    words = (sys.executable, "-m", "kernel", "audit", "check", file, "--key", key)
    assert "rows are as they were sealed" in run(*words, folder=tmp_path, **here)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trail.ndjson", "wheel"]


def test_the_container_is_small_unprivileged_and_checks_its_health() -> None:
    """No engine runs here: what can be checked without one."""
    lines = CONTAINER.splitlines()
    assert len(lines) <= 15
    assert lines.index("USER caudex") < lines.index('CMD ["caudex", "serve"]')
    assert "requirements.lock" in CONTAINER
    settings = dict(each.split("=", 1) for each in shlex.split(_instruction("ENV")))
    config = load_config("/dev/null", settings)
    assert config.server.host == "0.0.0.0"
    assert str(config.data_dir) == _instruction("VOLUME")
    assert int(_instruction("EXPOSE")) == config.server.port


@pytest.mark.slow
def test_the_check_of_the_container_passes_for_a_server_that_is_ready(postgres: Postgres) -> None:
    program, *words = json.loads(_instruction("HEALTHCHECK").removeprefix("CMD "))
    assert program == "python"
    with running_server(postgres) as server:
        for url, status in ((server.url, 0), ("http://127.0.0.1:1", 1)):
            given = [word.replace("http://127.0.0.1:9100", url) for word in words]
            done = subprocess.run([sys.executable, *given], capture_output=True, check=False)
            assert done.returncode == status, done.stderr


def test_the_composed_services_configure_the_server_as_it_expects() -> None:
    caudex, database = COMPOSE["services"]["caudex"], COMPOSE["services"]["postgres"]
    assert (ROOT / caudex["build"]["dockerfile"]).is_file()
    given = {
        key: re.sub(r"\$\{\w+:\?[^}]*\}", "s3cret", value)
        for key, value in {**caudex["environment"], **database["environment"]}.items()
    }
    known = {key: value for key, value in given.items() if key.startswith("CAUDEX_")}
    user, password = given["POSTGRES_USER"], given["POSTGRES_PASSWORD"]
    assert load_config("/dev/null", known).database.url == (
        f"postgresql://{user}:{password}@postgres/{user}"
    )
    assert caudex["depends_on"]["postgres"]["condition"] == "service_healthy"
    [volume] = caudex["volumes"]
    assert volume.partition(":")[2] == _instruction("VOLUME")
    assert {volume.partition(":")[0], database["volumes"][0].partition(":")[0]} == set(
        COMPOSE["volumes"]
    )


def _instruction(name: str) -> str:
    [value] = re.findall(rf"^{name} (.*)$", CONTAINER, re.MULTILINE)
    return value
