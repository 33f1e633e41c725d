"""Runs a kit against an engine in a pytest of its own, and returns the broken promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAILED = re.compile(r"^(?:FAILED|ERROR) \S+::(test_\w+)", re.MULTILINE)


def broken_promises(postgres, folder, kit, engine, *, provider="wrong", only="", patience="0.1"):
    """Names of the tests of `kit` that fail for `engine`, a class of `wrong.py`."""
    test = folder / "test_wrong.py"
    overrides = {"plugins": {provider: {"module": f"tests.conformance.wrong:{engine}"}}}
    test.write_text(
        f"from kernel.testing.conformance import {kit}\n\n\n"
        f"class TestWrong({kit}):\n"
        f'    provider = "{provider}"\n'
        f"    overrides = {overrides}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line",
         f"--rootdir={folder}", "-k", only, "test_wrong.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CAUDEX_TEST_DATABASE_URL": postgres.url,
             "CAUDEX_TEST_PATIENCE": patience},  # what such an engine does not do, it never does
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return set(FAILED.findall(done.stdout))
