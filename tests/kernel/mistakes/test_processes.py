"""Mistakes that hang a server process, or end it: processes of their own, and a real database."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from kernel.testing.servers import NO_TLS
from tests.kernel.mistakes.mistake import Mistake, handler
from tests.kernel.processes import Served, descendants, write_config
from tests.waiting import eventually

pytestmark = pytest.mark.slow

MISTAKES = {
    "spins": Mistake(
        title="a handler has an endless loop",
        body=handler("while True: pass  # here"),
        status=None,
        event="the event loop is blocked",
        remedy="await it, or run it in a thread",
    ),
    "opens": Mistake(
        title="a handler opens a pipe, which no process ever writes to",
        body=handler("""
            os.mkfifo(f"pipe-{os.getpid()}")
            open(f"pipe-{os.getpid()}")  # here
        """),
        status=None,
        event="the event loop is blocked",
        remedy="await it, or run it in a thread",
    ),
    "crashes": Mistake(
        title="a handler crashes the interpreter",
        body=handler("""
            import ctypes
            ctypes.string_at(0)  # here
        """),
        status=None,
    ),
    "leaves": Mistake(
        title="a handler calls os._exit", body=handler("os._exit(3)  # here"), status=None
    ),
    "stays": Mistake(
        title="a background task swallows its cancellation",
        body="""
            @hookimpl
            @asynccontextmanager
            async def lifespan(self, services):
                self.tasks.start(self.work, "work")
                yield

            async def work(self):
                while True:
                    try:
                        await asyncio.sleep(3600)  # here
                    except BaseException:
                        pass
        """,
        status=None,
        event="a task does not end",
        remedy="let CancelledError pass",
    ),
}
PID = Mistake(title="", body=handler("return reply(os.getpid())"))


@pytest.fixture
def folder(tmp_path: Path, database: str) -> Path:
    """A folder with a configuration and all plugins of these tests."""
    files = [str(each.save(name, tmp_path)) for name, each in {**MISTAKES, "pid": PID}.items()]
    server = {"data_dir": str(tmp_path / "data"), "plugin_files": files}
    database_table = {"url": database, "wait": 5.0, "pool_size": 4}
    write_config(
        tmp_path,
        {
            "server": server,
            "database": database_table,
            "plugins.system": {"blocked_timeout": 3.0},
            "plugins.workers": {"enabled": False},
        },
    )
    return tmp_path


def lines(served: Served) -> list[dict[str, Any]]:
    """What was logged so far."""
    return [json.loads(line) for line in served.err.splitlines() if line.startswith("{")]


def events(served: Served, event: str) -> Sequence[dict[str, Any]]:
    return [line for line in lines(served) if line["event"] == event]


@contextmanager
def asking(served: Served, path: str) -> Generator[None]:
    """Ask for what never answers, from a thread."""
    thread = threading.Thread(target=_ask, args=(served.url + path,), daemon=True)
    thread.start()
    yield
    thread.join(10)


def _ask(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(url, timeout=120, verify=NO_TLS)


def _pid(served: Served) -> int:
    """Ask until a process answers: the kernel may give a request to the one that hangs."""
    with suppress(httpx.HTTPError):
        answer = httpx.get(f"{served.url}/pid", timeout=0.5, verify=NO_TLS)
        return answer.json() if answer.status_code == 200 else 0
    return 0


def answering(served: Served) -> Iterator[int]:
    """Yield the processes that answer."""
    while True:
        yield eventually(lambda: _pid(served), 30, lambda: served.err[-3000:])


@pytest.mark.parametrize("name", ["spins", "opens"])
def test_a_process_of_several_that_hangs_is_named_and_replaced(folder: Path, name: str) -> None:
    mistake, event = MISTAKES[name], "a server process hangs, and ends to be replaced"
    with Served("--workers", "2", cwd=folder) as served:
        eventually(lambda: len(events(served, "the plugins have started")) == 2, 30)
        before = descendants(served.process.pid)
        with asking(served, f"/{name}"):
            assert next(answering(served))  # the other one, meanwhile
            [line] = eventually(lambda: events(served, event), 30, lambda: served.err[-3000:])
        assert (line["plugin"], line["at"]) == (name, mistake.place(name, folder))
        assert line["remedy"].startswith(mistake.remedy)
        mistake.check(name, folder, lines(served))
        [died] = eventually(lambda: events(served, "a server process died and is replaced"), 30)
        assert died["status"] == os.EX_SOFTWARE
        eventually(lambda: len(events(served, "the plugins have started")) == 3, 30)
        assert descendants(served.process.pid) - before
        served.end()


def test_a_single_process_that_hangs_is_named_again_and_again(folder: Path) -> None:
    mistake = MISTAKES["spins"]
    with Served(cwd=folder) as served, asking(served, "/spins"):
        named = "the event loop is blocked"
        eventually(lambda: len(events(served, named)) >= 4, 60, lambda: served.err[-3000:])
        places = {line["at"] for line in events(served, named)}
        assert places == {mistake.place("spins", folder)}
        seconds = [line["seconds"] for line in events(served, named)]
        pauses = [after - before for before, after in itertools.pairwise(seconds)]
        assert pauses == sorted(pauses)
        assert served.process.poll() is None
        served.process.send_signal(signal.SIGTERM)
        served.end()  # the second signal


def test_a_crash_of_the_interpreter_shows_the_line_and_its_process_is_replaced(
    folder: Path,
) -> None:
    with Served("--workers", "2", cwd=folder) as served:
        with asking(served, "/crashes"):
            event = "a server process died and is replaced"
            [died] = eventually(lambda: events(served, event), 30, lambda: served.err[-3000:])
        assert died["signal"] == "SIGSEGV"
        place = MISTAKES["crashes"].place("crashes", folder)
        file, _, number = place.rpartition(":")
        assert f'File "{file}", line {number} in get' in served.err
        assert next(answering(served))


def test_os_exit_cannot_be_held_and_its_process_is_replaced(folder: Path) -> None:
    with Served("--workers", "2", cwd=folder) as served:
        with asking(served, "/leaves"):
            event = "a server process died and is replaced"
            [died] = eventually(lambda: events(served, event), 30, lambda: served.err[-3000:])
        assert died["status"] == 3
        assert next(answering(served))


def test_a_task_that_swallows_its_cancellation_is_named_at_the_end(folder: Path) -> None:
    with Served(cwd=folder) as served:
        served.process.send_signal(signal.SIGTERM)
        served.end()
        MISTAKES["stays"].check("stays", folder, lines(served))
