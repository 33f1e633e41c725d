"""Write caudex.cdx.json: what Caudex ships and needs, as a CycloneDX bill of materials.

The components are those of requirements.lock and the vendored libraries of the console, each with
its licence and hashes. No address of a registry is in it. Needs uv and the packages of the lock.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from kernel import VERSION  # noqa: E402 - found by the path above
from plugins.console.assets.vendored import VENDORED, Vendored  # noqa: E402

LICENCES = {"ahocorasick-rs": "Apache-2.0", "qrcode": "BSD-3-Clause"}
"""Those that the metadata of a package does not name; its file of the licence does."""
LOCKED = re.compile(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Write the file."""
    bill = read_environment()
    bill["metadata"].pop("tools")
    root = bill["metadata"]["component"]
    root["version"] = VERSION
    root["purl"] = f"pkg:pypi/caudex-core@{VERSION}"
    hashes = locked_hashes()
    packages = [package(component, hashes) for component in bill["components"]]
    libraries = [library(files) for files in vendored_libraries()]
    new_names = {
        old["bom-ref"]: new["bom-ref"]
        for old, new in zip(bill["components"], packages, strict=True)
    }
    bill["components"] = [*packages, *libraries]
    bill["dependencies"] = graph(bill["dependencies"], new_names, libraries, root["bom-ref"])
    (ROOT / "caudex.cdx.json").write_text(formatted(bill))


def formatted(bill: dict[str, Any]) -> str:
    """Return the bill with a line for each component and for each of its needs."""
    members = [f" {json.dumps(key)}: {block(value)}" for key, value in bill.items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def block(value: Any) -> str:
    """Return a value as JSON, the items of a list on lines of their own."""
    if not isinstance(value, list):
        return json.dumps(value)
    return "[\n  " + ",\n  ".join(json.dumps(item) for item in value) + "\n ]"


def read_environment() -> dict[str, Any]:
    """Install the lock into an empty environment and describe what is there."""
    tools = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        run(tools / "uv", "venv", "--quiet", "--python", sys.executable, folder)
        run(tools / "uv", "pip", "install", "--quiet", "--python", python, "--require-hashes",
            "-r", ROOT / "requirements.lock")  # fmt: skip
        text = run(tools / "cyclonedx-py", "environment", python, "--pyproject",
                   ROOT / "pyproject.toml", "--output-reproducible", "--short-PURLs")  # fmt: skip
    return json.loads(text)


def run(*words: object) -> str:
    """Run a command and return what it prints."""
    command = [str(word) for word in words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def locked_hashes() -> dict[str, list[str]]:
    """Return the SHA-256 of each file of a package, by `name==version`."""
    text = (ROOT / "requirements.lock").read_text("utf-8")
    return {
        f"{name}=={version}": re.findall(r"sha256:([0-9a-f]{64})", rest)
        for name, version, rest in LOCKED.findall(text)
    }


def package(component: dict[str, Any], hashes: dict[str, list[str]]) -> dict[str, Any]:
    """Describe a package of the lock. Raises KeyError where the lock does not have it."""
    name = re.sub(r"[-_.]+", "-", component["name"]).lower()
    version = component["version"]
    return {
        "bom-ref": component["purl"],
        "hashes": sha256(hashes[f"{name}=={version}"]),
        "licenses": licences(name, component),
        "name": name,
        "purl": component["purl"],
        "type": "library",
        "version": version,
    }


def licences(name: str, component: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the SPDX names; classifiers beside them say the same less precisely."""
    declared = [
        entry
        for entry in component.get("licenses", [])
        if "expression" in entry or "id" in entry["license"]
    ]
    return declared or [{"license": {"id": LICENCES[name]}}]


def vendored_libraries() -> list[list[Vendored]]:
    """Return the files of each vendored package."""
    names = dict.fromkeys(file.package for file in VENDORED)
    return [[file for file in VENDORED if file.package == name] for name in names]


def library(files: list[Vendored]) -> dict[str, Any]:
    """Describe a vendored package by the files of it that are in the wheel."""
    first = files[0]
    purl = f"pkg:npm/{first.package.replace('@', '%40')}@{first.version}"
    return {
        "bom-ref": purl,
        "components": [
            {
                "bom-ref": f"{purl}#{file.file}",
                "hashes": sha256([file.sha256]),
                "name": f"plugins/console/web/vendor/{file.file}",
                "type": "file",
            }
            for file in files
        ],
        "licenses": [{"license": {"id": first.licence}}],
        "name": first.package,
        "purl": purl,
        "type": "library",
        "version": first.version,
    }


def sha256(digests: list[str]) -> list[dict[str, str]]:
    """Return hashes in the form of CycloneDX."""
    return [{"alg": "SHA-256", "content": digest} for digest in digests]


def graph(
    edges: list[dict[str, Any]],
    new_names: dict[str, str],
    libraries: list[dict[str, Any]],
    root: str,
) -> list[dict[str, Any]]:
    """Return what needs what; the console's libraries are part of Caudex itself."""
    renamed = [
        {
            "ref": new_names.get(edge["ref"], edge["ref"]),
            "dependsOn": sorted(new_names.get(name, name) for name in edge.get("dependsOn", [])),
        }
        for edge in edges
    ]
    [own_edge] = [edge for edge in renamed if edge["ref"] == root]
    own_edge["dependsOn"] += [part["bom-ref"] for part in libraries]
    renamed += [{"ref": part["bom-ref"], "dependsOn": []} for part in libraries]
    return sorted(renamed, key=lambda edge: edge["ref"])


if __name__ == "__main__":
    main()
