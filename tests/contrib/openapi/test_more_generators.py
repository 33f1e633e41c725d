"""Other generators of clients, where npm has them: they generate, and the compiler takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.testing import Server, running_server

from .generating import CRM, PLUGINS, run_npx, write_documents

pytestmark = pytest.mark.slow

STRICT = "tsc --strict --noEmit --skipLibCheck --target es2022 --module esnext"
BUNDLED = f"{STRICT} --moduleResolution bundler --lib es2022,dom,dom.iterable"


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {"plugins": PLUGINS}) as running:
        running.install(CRM | {"appId": "crm"})
        yield running


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> Path:
    write_documents(server, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["server", "crm"])
def test_hey_api_generates_what_tsc_takes(folder: Path, name: str) -> None:
    command = f"openapi-ts --input {name}.json --output {name} --no-log-file"
    run_npx(folder, "@hey-api/openapi-ts@0.99.0", "typescript@5.9.3", command)
    run_npx(folder, "typescript@5.9.3", f"{BUNDLED} {name}/index.ts")


@pytest.mark.parametrize("name", ["server", "crm"])
def test_orval_generates_what_tsc_takes(folder: Path, name: str) -> None:
    command = f"orval --input {name}.json --output {name}.ts --client fetch"
    run_npx(folder, "orval@8.38.0", command)
    run_npx(folder, "typescript@5.9.3", f"{BUNDLED} {name}.ts")
