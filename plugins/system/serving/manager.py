"""Several server processes, or one that restarts when a file changes."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Final

import msgspec
import structlog

from kernel.public import LoadedPlugins, ProcessReady, ServerProcesses

from .watcher import FileWatcher

END_SECONDS: Final = 28.0
"""Seconds from a first signal until a process is killed; it ends by itself a little earlier."""
FORCED_SECONDS: Final = 2.0
"""The same from a second signal."""
RELOADED: Final = "reloaded"
"""Name of a server process that a change ends."""
REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 2\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b"
)

log = structlog.get_logger("caudex.supervisor")


def is_reloaded() -> bool:
    """Whether this server process was started by `serve --reload`."""
    return multiprocessing.current_process().name == RELOADED


class _Child:
    """One server process; its pipe breaks when the parent dies, in whatever way."""

    def __init__(self, target: Callable[[Connection], None], name: str | None) -> None:
        # Not a fork: the parent has threads, and the child should import changed files again.
        spawn = multiprocessing.get_context("spawn")
        self.pipe, pipe_of_child = spawn.Pipe()
        self.process = spawn.Process(target=target, args=(pipe_of_child,), name=name, daemon=True)
        # Ctrl-C and the end of a terminal signal the whole foreground group, but only the parent
        # ends the children.
        ignored = (signal.SIGINT, signal.SIGHUP)
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
        self.process.start()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        pipe_of_child.close()
        self.started = False
        self.hangups = 0  # those that it was sent

    def receive(self) -> ProcessReady | str | None:
        """Return what the process sent, and only once: that it is ready, or its fault."""
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, OSError):
            pass  # it ended instead
        return None

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)

    def close(self) -> int:
        """Wait for the end and return the status."""
        self.process.join()
        status = self.process.exitcode or 0
        self.process.close()
        self.pipe.close()
        return status


class ProcessManager:
    """See `kernel.contracts.server.ProcessManager`.

    The first process is started alone: an error that stops the start is reported once. A process
    that ended is replaced; with `reload` a change is waited for, and until then requests get the
    reason.
    """

    def __init__(self, watcher: FileWatcher) -> None:
        self._watcher = watcher
        self._children: list[_Child] = []
        self._fault = ""
        self._signals = 0
        self._announced = False
        self._hangups = 0
        self._not_before = 0.0

    def files(self, plugins: LoadedPlugins) -> Mapping[str, tuple[str, ...]]:
        """See `kernel.contracts.server.ProcessManager.files`."""
        return self._watcher.files(plugins)

    def run(self, server: ServerProcesses, ready: ProcessReady) -> int:
        """See `kernel.contracts.server.ProcessManager.run`."""
        self._server = server
        self._handle([signal.SIGHUP], self._count_hangup)
        self._handle(server.ending, self._count_signal)
        status = 0
        while not self._signals and not status:
            status = self._replace_dead()
            for child in self._children:
                ready = self._learn(child) or ready
                self._pass_on(child)
            self._tick()
            if server.reload and self._watcher.changed(ready.files, ready.began):
                log.info("a file has changed")
                self._not_before = 0.0
                self._end()
        server.listener.close()  # else connections would be accepted that no process serves
        return self._end() or status

    def _handle(self, numbers: Iterable[int], handler: Callable[[int, object], None]) -> None:
        """Handle signals, except those that the server was started to ignore, as by nohup."""
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, handler)

    def _learn(self, child: _Child) -> ProcessReady | None:
        """Take what a process has sent."""
        message = child.receive()
        if message is None:
            return None
        if isinstance(message, str):
            self._fault = message or self._fault
            return None
        child.started = True
        if not self._announced:
            self._announced = True
            self._server.announce(message.notices)
        return message

    def _count_signal(self, *_: object) -> None:
        self._signals += 1

    def _count_hangup(self, *_: object) -> None:
        self._hangups += 1

    def _pass_on(self, child: _Child) -> None:
        """Send a hangup once to each process; one that starts has the configuration of before."""
        if child.started and child.hangups < self._hangups:
            child.hangups = self._hangups
            child.signal(signal.SIGHUP)

    def _tick(self) -> None:
        self._server.keep_database_running()
        if self._fault and not self._children:
            refuse(self._server.listener, self._fault)
        else:
            time.sleep(0.2)

    def _replace_dead(self) -> int:
        """Replace dead processes; a status other than 0 ends all: the first start failed."""
        dead = [child for child in self._children if not child.process.is_alive()]
        for child in dead:
            self._children.remove(child)
            message = child.receive()
            status = child.close()
            if self._server.reload:
                if isinstance(message, str):
                    self._fault = message
                if not self._fault:
                    self._fault = f"a process ended with status {status}; see the log"
                self._not_before = float("inf")
            elif not self._announced:
                if status == os.EX_CONFIG:
                    return status
                return 1
            else:
                log.error("a server process died and is replaced", **_describe_end(status))
                # A crash loop leaves the machine usable.
                self._not_before = time.monotonic() + 1.0
        self._start_missing()
        return 0

    def _start_missing(self) -> None:
        """Start processes until there are as many as configured; the first one is alone."""
        count = 1
        if self._announced:
            count = self._server.count
        name = None
        if self._server.reload:
            name = RELOADED
        while len(self._children) < count and time.monotonic() >= self._not_before:
            self._children.append(_Child(self._server.target, name))
            self._fault = ""

    def _end(self) -> int:
        """End every process; return 1 where one did not end well."""
        deadline = time.monotonic() + END_SECONDS
        handled = -1
        while any(child.process.is_alive() for child in self._children):
            if handled < self._signals:
                if handled > 0:
                    deadline = time.monotonic() + FORCED_SECONDS
                handled = self._signals
                for child in self._children:
                    child.process.terminate()
            if time.monotonic() > deadline:
                break
            self._tick()
        result = 0
        while self._children:
            child = self._children.pop()
            child.process.kill()
            status = child.close()
            # A process without a signal handler yet ended by our SIGTERM.
            if status not in (0, -signal.SIGTERM):
                result = 1
        return result


def _describe_end(status: int) -> dict[str, object]:
    """Return the fields of the log that say how a process ended."""
    if status >= 0:
        return {"status": status}
    return {"status": status, "signal": signal.Signals(-status).name}


def refuse(listener: socket.socket, fault: str) -> None:
    """Answer a request that arrives within a fifth of a second by 503 with the reason."""
    body = msgspec.json.encode({"error": f"the server does not start: {fault}"})
    if select.select([listener], [], [], 0.2)[0]:
        with suppress(OSError), listener.accept()[0] as connection:
            connection.settimeout(0.5)
            connection.recv(65_536)
            connection.sendall(REFUSAL % (len(body), body))
