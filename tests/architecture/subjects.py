"""Checks the subjects of commits: `area: what changed`, at most 72 characters.

`python -m tests.architecture.subjects FILE` checks one message, as git's commit-msg hook. Without
FILE it checks the commits since this rule exists.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LONGEST = 72
SUBJECT = re.compile(r"[a-z0-9_.]+([ ,/-]+[a-z0-9_.]+)*: \S.*[^.]")
GENERATED = ("Merge ", "Revert ", "fixup! ", "squash! ")
BEFORE = "cf23c0ed3654"
"""The last commit that is older than the rule."""


def mistake(subject: str) -> str:
    """Return what is wrong with a subject, or an empty text."""
    if subject.startswith(GENERATED):
        return ""
    if len(subject) > LONGEST:
        return f"{len(subject)} characters, at most {LONGEST} are allowed: {subject}"
    if not SUBJECT.fullmatch(subject):
        return f'write "area: what changed" without a full stop: {subject}'
    return ""


def mistakes(subjects: Iterable[str]) -> list[str]:
    """Return what is wrong with each subject that is wrong."""
    return [wrong for subject in subjects if (wrong := mistake(subject))]


def new_subjects(folder: Path) -> list[str]:
    """Return the subjects since BEFORE; none in a copy without that commit (a shallow clone)."""
    command = ["git", "log", "--format=%s", f"{BEFORE}..HEAD"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def main(arguments: list[str]) -> int:
    """Print each mistake; return the exit code."""
    if arguments:
        subjects = Path(arguments[0]).read_text("utf-8").splitlines()[:1]
    else:
        subjects = new_subjects(Path(__file__).parents[2])
    found = mistakes(subjects)
    print(*found, sep="\n", end="\n" * bool(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
