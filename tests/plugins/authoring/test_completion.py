"""Completion of commands in shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .support import Author

COMPLETE = """
source <(caudex completion bash)
complete -p caudex > /dev/null
COMP_WORDS=({words})
COMP_CWORD={last}
_caudex_completion caudex
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("caudex app de", "deploy dev"), ("caudex compl", "completion"),
     ("caudex app new --temp", "--template"), ("caudex app new x --template he", "helpdesk")],
)  # fmt: skip
def test_bash_completes_commands_and_options(words: str, expected: str, tmp_path: Path) -> None:
    script = COMPLETE.format(words=words, last=len(words.split()) - 1)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == expected.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(stranger: Author, shell: str) -> None:
    assert "_CAUDEX_COMPLETE" in stranger.ok("completion", shell).out
    assert stranger.json("completion", shell)["shell"] == shell


def test_another_shell_is_a_wrong_command_line(stranger: Author) -> None:
    assert stranger.run("completion", "tcsh").status == 2
