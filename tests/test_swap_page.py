"""The page about swapping: its configurations start, its engine passes its kit."""

import os
import re
import subprocess
import sys

import pytest

from kernel.config.settings import load_config
from kernel.loading.loader import load
from kernel.testing import conformance
from tests.pages import ROOT, section, write_files

PAGE = (ROOT / "docs/howto/swap-a-subsystem.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "service", "provider"),
    [
        ("files.toml", "vault", "vault_file"),
        ("moving.toml", "vault", "vault"),
        ("proxy.toml", "identity", "identity_header"),
        ("s3.toml", "storage", "storage_s3"),
    ],
)
def test_a_configuration_of_the_page_chooses_what_it_says(name, service, provider, tmp_path):
    write_files(section(PAGE, "Choose another engine"), tmp_path)
    kernel = load(load_config(str(tmp_path / name), environ={}))
    assert kernel.services.provider(service) == provider


@pytest.mark.slow
def test_the_engine_of_the_page_passes_its_kit(postgres, tmp_path):
    names = write_files(PAGE, tmp_path)
    assert "test_mine.py" in names
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
                   "CAUDEX_TEST_DATABASE_URL": postgres.url}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 100


def test_the_page_names_every_kit():
    kits = {name for name in conformance.__all__ if name != "Conformance"}
    assert kits == set(re.findall(r"^\| `(\w+Conformance)` \|", PAGE, re.MULTILINE))
