"""Which processes of PostgreSQL are sessions of apps, and what they have."""

from pathlib import Path

import pytest

from plugins.app_logins import memory
from plugins.app_logins.memory import SessionMemory

MB = 1024


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with a postmaster (1), the server's session (10), sessions of apps and a helper."""
    monkeypatch.setattr(memory, "PROC", tmp_path)
    titles = {
        10: "postgres: caudex postgres [local] idle in transaction",
        11: "postgres: caudex_5_w1 postgres 127.0.0.1(5) SELECT",
        12: "postgres: main: caudex_5_w1 postgres [local] idle",
        13: "postgres: parallel worker for PID 11",
        14: "postgres: caudex_5_w2 postgres [local] idle",
        15: "postgres: caudex_6_w1 other [local] idle",
        16: "postgres: checkpointer",
    }
    for pid, title in titles.items():
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cmdline").write_text(title + "\0\0")
        (folder / "status").write_text(
            f"Name:\tpostgres\nPPid:\t1\nVmRSS:\t999999 kB\nRssAnon:\t{100 * MB} kB\n"
            f"RssShmem:\t999999 kB\nVmSwap:\t{MB} kB\n"
        )
        (folder / "oom_score_adj").write_text("0")
    children = tmp_path / "1" / "task" / "1"
    children.mkdir(parents=True)
    (children / "children").write_text(" ".join(map(str, [*titles, 99])) + " ")
    return tmp_path


def test_sessions_are_summed_by_login_with_their_helpers_and_the_swap(proc: Path) -> None:
    sessions = SessionMemory()
    assert sessions.attach(10, 5)
    assert sessions.by_login() == {"caudex_5_w1": 303 << 20, "caudex_5_w2": 101 << 20}


def test_the_system_ends_sessions_of_apps_first(proc: Path) -> None:
    sessions = SessionMemory()
    sessions.attach(10, 5)
    sessions.by_login()
    scores = {pid: (proc / str(pid) / "oom_score_adj").read_text() for pid in range(10, 17)}
    assert {pid for pid, score in scores.items() if score == "500"} == {11, 12, 13, 14}


@pytest.mark.parametrize("backend", [99, 16])
def test_a_server_that_is_not_on_this_machine_is_not_watched(proc: Path, backend: int) -> None:
    (proc / "16" / "cmdline").write_text("another program")
    sessions = SessionMemory()
    assert not sessions.attach(backend, 5)
    assert sessions.by_login() == {}


def test_a_process_that_is_no_session_of_an_app_is_read_once(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = SessionMemory()
    sessions.attach(10, 5)
    sessions.by_login()
    titles_read = list[int]()
    read = memory._read

    def note(pid: int, name: str) -> str:
        if name == "cmdline":
            titles_read.append(pid)
        return read(pid, name)

    monkeypatch.setattr(memory, "_read", note)
    sessions.by_login()
    assert {10, 16}.isdisjoint(titles_read)
    assert {11, 12, 13, 14} <= set(titles_read)


def test_a_new_process_is_no_one_else_before_it_says_so(proc: Path) -> None:
    """A new process has the title of its parent for a moment, and pids are used again."""
    (proc / "14" / "cmdline").write_text("/usr/lib/postgresql/17/bin/postgres\0-D\0data\0")
    children = proc / "1" / "task" / "1" / "children"
    sessions = SessionMemory()
    sessions.attach(10, 5)
    assert "caudex_5_w2" not in sessions.by_login()
    (proc / "14" / "cmdline").write_text("postgres: caudex_5_w2 postgres [local] idle\0")
    assert sessions.by_login()["caudex_5_w2"] == 101 << 20

    children.write_text("10 14")
    assert sessions.by_login() == {"caudex_5_w2": 101 << 20}
    (proc / "16" / "cmdline").write_text("postgres: caudex_5_w9 postgres [local] idle\0")
    children.write_text("10 14 16")
    assert sessions.by_login()["caudex_5_w9"] == 101 << 20
