"""The command `caudex` as an operator runs it: in processes of its own."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec

from kernel.testing.servers import NO_TLS
from tests.waiting import eventually

COMMAND = [sys.executable, "-W", "always::ResourceWarning", "-m", "kernel"]
PROBE = '''
"""A plugin that a server is watched through."""

import asyncio
import os
from contextlib import asynccontextmanager

import anyio
import structlog

from caudex import PUBLIC, Plugin, Route, hookimpl, reply, stream_reply


class ProbePlugin(Plugin):
    name = "probe"
    stopping = False

    @hookimpl
    def register_routes(self, services):
        return [
            Route("GET", "/probe", self.show, needs=PUBLIC),
            Route("GET", "/probe/slow/{seconds}", self.wait, needs=PUBLIC),
            Route("GET", "/probe/stream", self.stream, needs=PUBLIC),
            Route("GET", "/probe/log/{lines}", self.log, needs=PUBLIC),
        ]

    @hookimpl
    def lifespan(self, services):
        return self.live()

    @asynccontextmanager
    async def live(self):
        yield
        self.stopping = True

    async def show(self, request):
        return reply({"version": 1, "pid": os.getpid()})

    async def wait(self, request):
        structlog.get_logger("probe").info("it waits")
        await anyio.sleep(float(request.path_params["seconds"]))
        return reply({"waited": True})

    async def log(self, request):
        for number in range(int(request.path_params["lines"])):
            structlog.get_logger("probe").info("a line", number=number, text="x" * 100)
        return reply({"logged": True})

    async def stream(self, request):
        async def lines():
            yield b"line\\n"
            structlog.get_logger("probe").info("it waits")
            while not self.stopping:
                await anyio.sleep(0.05)
                yield b"line\\n"
            yield b"last\\n"

        return stream_reply(lines(), "text/plain")
'''


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without what would configure Caudex; see `kernel.testing.make_config`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CAUDEX_", "DATABASE_URL"))}
    if provider := os.environ.get("CAUDEX_TEST_STATEMENTS"):
        kept["CAUDEX_SERVICES__STATEMENTS"] = provider
    return {**kept, **(more or {})}


@contextmanager
def open_folder() -> Generator[Path]:
    """A folder that any account can enter: PostgreSQL runs as another one when we are root."""
    with tempfile.TemporaryDirectory(prefix="caudex-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def write_config(folder: Path, tree: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a caudex.toml; values are strings, numbers, booleans and lists of them."""
    lines: list[str] = []
    for section, table in tree.items():
        lines.append(f"[{section}]")
        lines += [f"{k} = {msgspec.json.encode(v).decode()}" for k, v in table.items()]
    path = folder / "caudex.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Ended:
    """A command that has ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def reported(self) -> list[str]:
        """What was said to the operator: the lines of stderr that are no log."""
        return [line for line in self.err.splitlines() if not line.startswith("{")]

    @property
    def refusal(self) -> str:
        """The one line with which a server refuses to start."""
        assert self.status == 78, (self.status, self.out, self.err)
        assert len(self.reported) == 1, self.err
        assert "Traceback" not in self.err, self.err
        assert self.reported[0].startswith("caudex: "), self.err
        return self.reported[0].removeprefix("caudex: ")


def caudex(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [*COMMAND, *words], cwd=cwd, env=environment(env), capture_output=True, text=True,
        timeout=90, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert "Warning" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


# A process that is asked to end while it still starts may be reading a folder.
WARNING = re.compile(r"Warning(?!: unclosed scandir iterator|: Enable tracemalloc)")


class Served:
    """`caudex serve` in a process group of its own, on a port that it chose itself."""

    def __init__(
        self,
        *words: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        terminal: int | None = None,
    ) -> None:
        """`terminal` is the file of one that is to control the process."""
        self._log = cwd / f"serve-{time.monotonic_ns()}.log"
        controlled = None if terminal is None else partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *words], cwd=cwd, env=environment(env),
                stderr=log, stdin=subprocess.DEVNULL if terminal is None else terminal,
                start_new_session=True, preexec_fn=controlled,  # noqa: PLW1509 - no other way
            )  # fmt: skip
        self.url = ""

    def __enter__(self) -> Self:
        self.url = eventually(self._address, 40, lambda: self.err)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(35)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise
        assert not WARNING.search(self.err), self.err

    def _address(self) -> str:
        """Where it listens; empty while it starts."""
        found = re.search(r"on (http://\S+)", self.err)
        assert found or self.process.poll() is None, self.err
        return found[1] if found else ""

    @property
    def err(self) -> str:
        """All that was written to stderr so far."""
        return self._log.read_text()

    def get(self, path: str) -> httpx.Response:
        """Send a request on a connection of its own."""
        return httpx.get(self.url + path, timeout=40, verify=NO_TLS)

    def end(self, number: int = signal.SIGTERM, *, group: bool = False) -> tuple[int, float]:
        """Send a signal and return the exit status and the seconds it took."""
        started = time.monotonic()
        (os.killpg if group else os.kill)(self.process.pid, number)
        return self.process.wait(40), time.monotonic() - started


def descendants(pid: int) -> set[int]:
    """Every process below one, by /proc."""
    parents = dict(_parents())
    found: set[int] = set()
    while new := {child for child, parent in parents.items() if parent in {pid, *found}} - found:
        found |= new
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if stat[0] != "Z":
                yield int(entry.name), int(stat[1])


def alive(pids: set[int]) -> set[int]:
    """Those that still run."""
    return pids & {pid for pid, _ in _parents()}
