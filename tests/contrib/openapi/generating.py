"""Runs generators of clients on the documents, and compilers on what they generate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Server

CRM = json.loads((Path(__file__).parents[3] / "examples/crm/manifest.json").read_text("utf-8"))
SERVER = "/api/v1/openapi.json"
APP = "/api/v1/apps/crm/openapi.json"
PLUGINS: dict[str, Any] = {
    "openapi": {}, "cron": {}, "metrics": {}, "mcp": {}, "shares": {}, "webhooks": {},
}  # fmt: skip


def write_documents(server: Server, folder: Path) -> None:
    """Write the document of the server and that of the CRM."""
    for name, path in (("server", SERVER), ("crm", APP)):
        (folder / f"{name}.json").write_text(server.admin.get(path).text, "utf-8")


def run(folder: Path, *command: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(
        command, cwd=folder, env=dict(os.environ), capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python in a folder."""
    return run(folder, sys.executable, *arguments)


def run_npx(folder: Path, *packages_and_command: str) -> str:
    """Run a program of npm. Skips where Node.js is missing, or the packages cannot be had."""
    if shutil.which("npx") is None:
        pytest.skip("no Node.js here")
    *packages, command = packages_and_command
    options = [option for package in packages for option in ("--package", package)]
    probe = ["npx", "--yes", *options, "node", "--version"]
    done = subprocess.run(
        probe, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"{', '.join(packages)} cannot be installed here")
    return run(folder, "npx", "--yes", *options, *command.split())


OPENAPI_GENERATOR = "org.openapitools:openapi-generator-cli:7.25.0"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"


def fetch_openapi_generator(folder: Path) -> Path:
    """Fetch openapi-generator by Maven. Skips where Java or Maven is missing, or cannot have it."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"no {program} here")
    target = [f"-Dartifact={OPENAPI_GENERATOR}", f"-DoutputDirectory={folder}"]
    done = subprocess.run(
        ["mvn", "-B", "-q", COPY, *target],
        cwd=folder, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    jars = list(folder.glob("openapi-generator-cli-*.jar"))
    if done.returncode != 0 or not jars:
        pytest.skip("openapi-generator cannot be had here")
    return jars[0]


def run_openapi_generator(folder: Path, jar: Path, *options: str) -> str:
    """Generate a client, and return what the generator printed."""
    return run(folder, "java", "-jar", str(jar), "generate", *options)
