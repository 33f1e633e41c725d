"""openapi-generator makes clients of Python, TypeScript and Java, and compilers take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.testing import Server, running_server

from .generating import (
    CRM,
    PLUGINS,
    fetch_openapi_generator,
    run,
    run_npx,
    run_openapi_generator,
    run_python,
    write_documents,
)

pytestmark = pytest.mark.slow

STRICT = "tsc --strict --noEmit --skipLibCheck --target es2022 --module esnext"
NAMES = ("server", "crm")
IMPORT_ALL = """\
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
package = importlib.import_module(sys.argv[2])
modules = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in modules:
    importlib.import_module(name)
print(len(modules))
"""


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {"plugins": PLUGINS}) as running:
        running.install(CRM | {"appId": "crm"})
        yield running


@pytest.fixture(scope="module")
def jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetch_openapi_generator(tmp_path_factory.mktemp("generator"))


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> Path:
    write_documents(server, tmp_path)
    return tmp_path


def generate(folder: Path, jar: Path, generator: str, name: str, *options: str) -> None:
    """Generate a client from a document that the generator finds no fault with."""
    printed = run_openapi_generator(
        folder, jar, "-g", generator, "-i", f"{name}.json", "-o", f"{name}_client", *options
    )
    assert "There were issues with the specification" not in printed


@pytest.mark.parametrize("name", NAMES)
def test_the_client_of_python_imports(folder: Path, jar: Path, name: str) -> None:
    package = f"{name}_api"
    generate(folder, jar, "python", name, f"--package-name={package}")
    count = run_python(folder, "-c", IMPORT_ALL, f"{name}_client", package)
    assert int(count) > 50


@pytest.mark.parametrize("name", NAMES)
def test_the_client_of_typescript_compiles(folder: Path, jar: Path, name: str) -> None:
    generate(folder, jar, "typescript-fetch", name)
    command = f"{STRICT} --moduleResolution bundler --lib es2022,dom {name}_client/index.ts"
    run_npx(folder, "typescript@5.9.3", command)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_the_client_of_java_compiles(folder: Path, jar: Path, name: str) -> None:
    generate(folder, jar, "java", name)
    client = folder / f"{name}_client"
    run(client, "mvn", "-B", "-q", "compile")
    assert len(list((client / "target/classes").rglob("*.class"))) > 100
