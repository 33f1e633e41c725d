"""What else goes on: more processes, more plugins, listeners, time."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from .figures import Case, Measured
from .load import load, request
from .queues import APP
from .requests import COLLECTION, HTTP_CONNECTIONS, IDS, NEW, Http, Want, fill, raw
from .stage import Stage, stage

LISTENERS = 100
LINES = 20
"""Lines a second that the app logs meanwhile."""

CALLERS = 4
"""For each process, where processes are compared with as many callers for each."""

PLUGINS = 10
WARM_UP = 1.0
NOTHING = '''
"""Does nothing."""

from caudex import App, InstallPlan, Plugin, Transaction, hookimpl


class Nothing{number}(Plugin):
    """Has hooks that read requests do not meet."""

    name = "nothing{number}"

    @hookimpl
    async def app_installing(self, tx: Transaction, plan: InstallPlan) -> None:
        pass

    @hookimpl
    async def app_removing(self, tx: Transaction, app: App) -> None:
        pass
'''
LISTENER = '''
"""Hears of events within their transactions."""

from caudex import Event, Plugin, Transaction, for_subjects, hookimpl


class Hearer(Plugin):
    """Looks at them and does nothing."""

    name = "hearer"

    @hookimpl
    @for_subjects("{subjects}")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        pass
'''
READ = Want(name="GET by id", path="/{id}")
CREATE = Want(name="create", method="POST", body=NEW)
PAGE = Want(name="list of 20", path="?limit=20")


def contestant(stage: Stage, want: Want, name: str, callers: int = HTTP_CONNECTIONS) -> Http:
    """One of our servers with a request of so many callers."""
    ids = [each["id"] for each in stage.call("GET", f"{COLLECTION}?limit={IDS}&order=asc")]

    def requests() -> list[bytes]:
        stage.sign_in()
        return raw(stage.url, COLLECTION + want.path, want, ids, stage.token)

    return Http(name, stage, stage.url, requests, database=stage.database_cpu, connections=callers)


def processes(opened: ExitStack, config: str, folder: str | None) -> list[Case]:
    """Several server processes against one, of one age and with as many rows.

    With as many callers for each process: their processor time is what a process costs. And with as
    many callers in all where the processes have cores: their throughput is what a process is for.
    """
    one = opened.enter_context(stage(folder, name="1", config=config))
    fill(one)
    found: list[Case] = []
    for number in (2, 4, 8):
        options = ("--workers", str(number))
        several = opened.enter_context(
            stage(folder, name=str(number), config=config, options=options)
        )
        fill(several)
        name = f"{number} processes"
        found += [
            Case(
                f"{name}{title}: {want.name}",
                [contestant(several, want, name, for_all)],
                [contestant(one, want, "1 process", for_one)],
            )
            for title, for_all, for_one in callers(number)
            for want in (READ, CREATE)
        ]
    return found


def callers(number: int) -> Iterator[tuple[str, int, int]]:
    """What to measure of so many processes: a title, their callers and those of one process."""
    if number <= max(2, os.cpu_count() or 1):
        yield "", HTTP_CONNECTIONS, HTTP_CONNECTIONS
    yield f", {CALLERS} callers each", CALLERS * number, CALLERS


class Again:
    """A server that restarts for each measurement.

    The layout of its memory makes a process some percent slower or faster as long as it runs. That
    is more than the differences measured here. Many processes average it out.
    """

    def __init__(self, stage: Stage, want: Want, name: str) -> None:
        self.name = name
        self._stage, self._want = stage, want

    def measure(self, seconds: float) -> Measured:
        """Start it, warm it up and send requests."""
        self._stage.stop()
        self._stage.start()
        self._stage.sign_in()
        requests = contestant(self._stage, self._want, self.name)
        requests.measure(WARM_UP)
        return requests.measure(seconds)


def plugins(opened: ExitStack, config: str, folder: str | None) -> list[Case]:
    """Plugins that do nothing, and one that hears of every write, against none: all of one age."""
    # With --plugin the server would also time each hook for its replies.
    config = f"{config}\n[server]\nserver_timing = false\n"
    none = opened.enter_context(stage(folder, name="none", config=config))
    fill(none)
    found: list[Case] = []
    idle = [NOTHING.format(number=number) for number in range(PLUGINS)]
    for title, codes, want in (
        (f"{PLUGINS} idle plugins: {READ.name}", idle, READ),
        (f"event_recorded: {CREATE.name}", [LISTENER.format(subjects="*")], CREATE),
        (f"event_recorded of others: {CREATE.name}", [LISTENER.format(subjects="else.*")], CREATE),
    ):
        options = [word for code in codes for word in ("--plugin", str(_file(none, code)))]
        other = opened.enter_context(stage(folder, name=title, config=config, options=options))
        fill(other)
        ours = Again(other, want, title.partition(":")[0])
        found.append(Case(title, [ours], [Again(none, want, "none")]))
    return found


def _file(stage: Stage, code: str) -> Path:
    name = code.partition('name = "')[2].partition('"')[0]
    file = Path(tempfile.mkdtemp(dir=stage.folder)) / f"{name}.py"
    file.parent.chmod(0o755)
    file.write_text(code, "utf-8")
    file.chmod(0o644)
    return file


class Listened:
    """Requests while others follow a log that grows."""

    def __init__(self, stage: Stage) -> None:
        self.name = f"{LISTENERS} listeners"
        self._stage, self._requests = stage, contestant(stage, READ, self.name)

    def measure(self, seconds: float) -> Measured:
        """Follow, and send requests."""
        with listening(self._stage) as heard:
            measured = self._requests.measure(seconds)
            lines = heard()
        if lines < LISTENERS:
            raise RuntimeError(f"{LISTENERS} listeners heard {lines} lines")
        return measured


def streams(stage: Stage) -> list[Case]:
    """Listeners against none."""
    return [
        Case(f"{LISTENERS} SSE clients: GET by id", [Listened(stage)],
             [contestant(stage, READ, "none")])
    ]  # fmt: skip


@contextmanager
def listening(stage: Stage) -> Generator[Callable[[], int]]:
    """Follow the app's log on many connections; yields how many lines they have heard."""
    stage.sign_in()
    done, heard, url, token = threading.Event(), [0], stage.url, stage.token
    follow = threading.Thread(target=_follow, args=(url, token, heard, done), daemon=True)
    speak = threading.Thread(target=_speak, args=(stage, done), daemon=True)
    follow.start()
    speak.start()
    time.sleep(0.5)  # until all are connected
    try:
        yield lambda: heard[0]
    finally:
        done.set()
        follow.join(30)
        speak.join(30)


def _follow(url: str, token: str, heard: list[int], done: threading.Event) -> None:
    async def one(raw: bytes, host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(raw)
        try:
            if b" 200 " not in await reader.readline():
                raise RuntimeError("a listener was refused")
            while data := await reader.read(1 << 16):
                heard[0] += data.count(b"data:")
        finally:
            writer.close()

    async def all_of_them() -> None:
        host, _, port = url.partition("//")[2].partition(":")
        raw = request("GET", url, f"/api/v1/apps/{APP}/logs?tail=0", token)
        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(one(raw, host, int(port))) for _ in range(LISTENERS)]
            while not done.is_set():
                await asyncio.sleep(0.05)
            for reader in readers:
                reader.cancel()

    with suppress(asyncio.CancelledError):
        uvloop.run(all_of_them())


def _speak(stage: Stage, done: threading.Event) -> None:
    body = {"method": "say", "params": {"text": "An offer was sent to a customer."}}
    while not done.wait(1 / LINES):
        stage.call("POST", f"/api/v1/apps/{APP}/rpc", body)


class Memory(msgspec.Struct, frozen=True):
    """Resident MB of a server under mixed load."""

    idle: float
    minutes: float
    early: float
    """After a tenth of the time."""
    late: float
    """Over the last tenth."""
    peak: float


def memory(stage: Stage, idle: float, minutes: float) -> Memory:
    """Read, list and write for minutes and watch the memory."""
    wants = [contestant(stage, want, want.name) for want in (READ, PAGE, CREATE)]
    samples: list[float] = []
    began = time.monotonic()
    while time.monotonic() - began < minutes * 60 or len(samples) < 10:
        for each in wants:
            load(stage.url, each.requests(), connections=32, seconds=2)
        samples.append(stage.memory())
    tenth = max(1, len(samples) // 10)
    return Memory(idle, minutes, samples[tenth], median(samples[-tenth:]), max(samples))
