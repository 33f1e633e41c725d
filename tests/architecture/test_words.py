"""Sources, pages and commit subjects use plain technical English: see docs/glossary.md."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.architecture import subjects

ROOT = Path(__file__).parents[2]
FOLDERS = ("kernel", "plugins", "contrib", "docs", "examples", "tests")
KINDS = {".md", ".py", ".sql", ".toml", ".js", ".ts", ".json", ".html", ".css"}
INSTEAD = {
    "told": "report, say, show",
    "(?:some|any|every)body": "a user, a caller, every user",
    r"(?<![\"`])nobody(?!@)": "no user, no caller, nothing",
    "whoever": "a caller that",
    "anew": "again",
    r"tells?(?!\()": "report, say, show, notify",
    "stands?(?![-_]in)": "is, follows, represents",
    "lies?": "is, be stored",
    "do(?:es)? without": "run without, leave out",
    r"mend(?:s|ed)?": "fix, repair",
    "(?-i:is none|be none)": "is not, no",
    "to be had": "available",
    "in force": "active, valid",
    "mandates?": "delegation",
    "strays": "orphans",
    "culprits?": "failed row",
}
"""Banned words (regular expressions) and what to write in their place.

`is None` and `file.tell()` are Python, "nobody" in quotes is an account of the system, and a
stand-in replaces a component in tests.
"""
BANNED = re.compile(rf"(?<![^\W_])(?:{'|'.join(INSTEAD)})(?![^\W_])", re.IGNORECASE)
"""Each as a whole word, also between the underscores of a name."""
LIMIT = 5
"""Banned words in all files together: names of former files, and an old name in the changelog."""


def files() -> list[Path]:
    """Sources, tests and pages, without what quotes: decisions, and databases of before."""
    found = [path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.suffix in KINDS]
    quoting = {ROOT / "docs/adr", ROOT / "tests/kernel/database/data", Path(__file__)}
    return [
        path for path in [*found, *ROOT.glob("*.md")] if quoting.isdisjoint({path, *path.parents})
    ]


@pytest.mark.parametrize(("page", "most"), [("performance", 1_500), ("security", 2_500)])
def test_a_page_that_grows_with_each_finding_stays_short(page: str, most: int) -> None:
    text = (ROOT / f"docs/explanation/{page}.md").read_text("utf-8")
    words = [word for word in text.split() if re.search(r"\w", word)]
    assert len(words) <= most, "what a measurement found goes to tests/benchmarks"


def test_few_banned_words_are_left() -> None:
    counts = Counter[str]()
    for path in files():
        if hits := len(BANNED.findall(path.read_text("utf-8"))):
            counts[path.relative_to(ROOT).as_posix()] = hits
    assert counts.total() <= LIMIT, f"write instead {INSTEAD}; most are in {counts.most_common(9)}"


@pytest.mark.parametrize(
    "text", ["Nobody", "mends", "must be none", "a mandate", "in\tforce", "test_it_tells_why"]
)
def test_a_banned_word_is_found(text: str) -> None:
    assert bool(BANNED.search(text)) is ("\t" not in text)


@pytest.mark.parametrize(
    "text",
    ["x is None", "recommended", "reinforce", "amends", "log.tell()", '"nobody"', "a stand-in"],
)
def test_another_word_is_not(text: str) -> None:
    assert not BANNED.search(text)


def test_the_glossary_defines_each_term_once() -> None:
    page = (ROOT / "docs/glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
    terms = Counter(term for row in rows for term in row.split(", ") if term != "term")
    assert len(terms) > 80
    assert [term for term, count in terms.items() if count > 1] == []


def test_new_commits_have_plain_subjects() -> None:
    found = subjects.new_subjects(ROOT)
    assert subjects.mistakes(found) == []
    whole = (ROOT / ".git").exists() and not (ROOT / ".git" / "shallow").exists()
    assert found or not whole, "the commit BEFORE is not in the history"


@pytest.mark.parametrize(
    ("subject", "accepted"),
    [
        ("auth: rename the throttle", True),
        ("kernel, jobs: use one lock", True),
        ("ci: " + "x" * 68, True),
        ("ci: " + "x" * 69, False),
        ("Rename the throttle", False),
        ("auth: ends with a full stop.", False),
        ("auth:no space", False),
        ("Merge branch 'auth'", True),
    ],
)
def test_a_subject_is_checked(subject: str, accepted: bool, tmp_path: Path) -> None:
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text(f"{subject}\n\nA body may be longer than that, and end with a full stop.\n")
    assert (subjects.main([str(message)]) == 0) is accepted


def test_a_copy_without_history_has_no_subjects(tmp_path: Path) -> None:
    assert subjects.new_subjects(tmp_path) == []
