"""Run the server: the embedded database, the listening socket, one process or several."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import io
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import NoReturn

import anyio
import structlog
from anyio.abc import TaskStatus

from kernel import VERSION
from kernel.app import build_app, lifespans, running
from kernel.cli import signals
from kernel.cli.deadline import END_SECONDS, FORCED_SECONDS, ProcessDeadline, end_process
from kernel.cli.loop import ServerLoop
from kernel.config import log as logging
from kernel.config.log import mask
from kernel.config.settings import Config
from kernel.contracts import hookspecs
from kernel.contracts import server as contract
from kernel.errors import EX_CONFIG, BootError, Ended, starting
from kernel.errors.source_lines import steps_waiting
from kernel.hooks.limits import LET_PASS
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load

ReadConfig = Callable[[], Config]

log = structlog.get_logger("caudex.serve")


@contextmanager
def database_for(
    kernel: Kernel, *, share: bool = True
) -> Generator[contract.DatabaseServer | None]:
    """Give the kernel a database: the configured one, a running server's, or an embedded one.

    Runs on the main thread: an embedded server ends with the thread that started it. Without
    `share`, an embedded server of another process is refused. Yields the server to keep running.
    """
    if kernel.config.database.url or (share and kernel.attach_database()):
        yield None
        return
    server = kernel.database_server()
    kernel.use_database(server.start(), server.port)
    try:
        yield server
    finally:
        server.stop()


def http_server(kernel: Kernel) -> contract.HttpServer:
    """Return the plugin's server of HTTP. Raises BootError without one."""
    with starting("HTTP server"):
        return kernel.build_needed(contract.HTTP_SERVER, "HTTP server")


def _report_crashes() -> None:
    """Let a crash of the interpreter say where it was, if the log goes to a file or a terminal."""
    with suppress(io.UnsupportedOperation):  # a stream in memory has no file
        faulthandler.enable()


def serve(config: Config, read: ReadConfig, *, reload: bool = False) -> int:
    """Serve until a signal. `read` reads the configuration again: for SIGHUP, and with `reload` to
    restart when a file changes. Returns the exit status; raises BootError."""
    began = time.time()
    config = config.replaced("server", workers=config.process_count)
    _report_crashes()
    signals.handle([signal.SIGHUP], _do_nothing)
    signals.handle(set(signals.ending()) - {signal.SIGINT}, _leave)
    with closing(logging.configure(config.log)), ExitStack() as contexts:
        # Before the bind, because a process that a killed server left may have the address.
        kernel: Kernel | None = None
        prepare: Callable[[], object] = _do_nothing
        if config.server.port:
            kernel = load(config, to_serve=True)
            prepare = partial(kernel.bus.collect, hookspecs.address_binding)
        listener = contexts.enter_context(bound_socket(config, prepare))
        if kernel is None:  # the system has chosen a free port
            port = listener.getsockname()[1]
            kernel = load(config.replaced("server", port=port), to_serve=True)
        kernel.reloader.read = _choose_reader(read)
        http_server(kernel)  # without it no database need start
        count = 1 if reload else kernel.config.process_count
        manager: contract.ProcessManager | None = None
        if reload or count > 1:
            manager = kernel.build_needed(contract.PROCESS_MANAGER, "processes")
        with database_for(kernel, share=False) as server:
            announce = partial(_print_banner, kernel, server, listener)
            keep_database_running = partial(run_check, server.ensure_running) if server else None
            if manager is None:
                serving = Serving(kernel, listener, keep_database_running=keep_database_running)
                return serving.run_until_signal(announce)
            target = partial(run_child, kernel.config, read, reload, listener)
            processes = contract.ServerProcesses(
                target=target, count=count, listener=listener, announce=announce, reload=reload,
                keep_database_running=keep_database_running or _do_nothing, ending=signals.ending(),
            )  # fmt: skip
            return manager.run(processes, _describe_ready(kernel, began))


def _choose_reader(read: ReadConfig) -> ReadConfig | None:
    """Return what reads the configuration again, None where SIGHUP ends the server."""
    return None if signal.SIGHUP in signals.ending() else read


def _describe_ready(kernel: Kernel, began: float) -> contract.ProcessReady:
    manager = kernel.services.build_early(contract.PROCESS_MANAGER)
    return contract.ProcessReady(
        manager.files(kernel) if manager else {}, began, kernel.context.notices
    )


def _leave(*_: object) -> NoReturn:
    """Handle a signal before an event loop can: leave the context managers and exit."""
    raise Ended(0)


def _do_nothing(*_: object) -> None:
    pass


def run_child(
    config: Config, read: ReadConfig, reload: bool, listener: socket.socket, parent: Connection
) -> None:
    """Run one server process of several; the parent owns the embedded database."""
    _report_crashes()
    signal.signal(signal.SIGTERM, _leave)
    try:
        with listener:
            config = _renew(config, read()) if reload else config
            with closing(logging.configure(config.log)):
                began = time.time()
                kernel = load(config)
                kernel.reloader.read = _choose_reader(read)
                status = Serving(kernel, listener).run_until_signal(
                    lambda: parent.send(_describe_ready(kernel, began)), parent
                )
    except BootError as error:
        sys.stderr.write(f"caudex: {error}\n")
        parent.send(mask(str(error)))
        status = EX_CONFIG
    end_process(status)


def _renew(config: Config, read: Config) -> Config:
    """Return the new configuration with the parent's address, data folder and database."""
    server = config.server
    read = read.replaced("server", host=server.host, port=server.port, data_dir=server.data_dir)
    if read.database.url:
        return read
    database = config.database
    return read.replaced("database", url=database.url, embedded_port=database.embedded_port)


class Serving:
    """A kernel that runs and answers HTTP in one event loop."""

    def __init__(
        self,
        kernel: Kernel,
        listener: socket.socket,
        *,
        drain: int = 20,
        keep_database_running: Callable[[], object] | None = None,
    ) -> None:
        """`drain` is the time in seconds that requests have to finish after the first signal;
        `keep_database_running` is called twice a second on the event loop's thread."""
        self._kernel = kernel
        self.fault_finder = kernel.fault_finder
        self._listener = listener
        self._drain = drain
        self._keep_database_running = keep_database_running
        self._http = http_server(kernel)
        self._stopping = asyncio.Event()
        self._stop: Callable[[], object] = _do_nothing
        self._cancel: Callable[[], object] = _do_nothing
        self._signalled = False

    async def run(self, started: Callable[[], object]) -> None:
        """Serve until `stop`; `started` is called once requests are answered. Raises BootError.

        The plugins' lifespans end while the last requests are answered, so that neither waits for
        the other; services and database are closed after both.
        """
        async with (
            running(self._kernel),
            anyio.create_task_group() as tasks,
            lifespans(self._kernel),
        ):
            await tasks.start(self._serve)
            self._stop = self.stop
            started()
            check_seconds = None if self._keep_database_running is None else 0.5
            while not self._stopping.is_set():
                if self._keep_database_running is not None:
                    self._keep_database_running()
                with anyio.move_on_after(check_seconds):
                    await self._stopping.wait()
            self._http.stop()

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        app = build_app(self._kernel)
        await self._http.serve(app, [self._listener], task_status.started, drain=self._drain)

    def stop(self) -> None:
        """Accept no more requests and end; call it in the event loop."""
        self._stopping.set()

    def run_until_signal(
        self, started: Callable[[], object], parent: Connection | None = None
    ) -> int:
        """Run in a new event loop until a signal, or until the parent is gone.

        The first signal ends it within 30 seconds, a second one within two, whatever threads do.
        Returns the exit status; raises BootError.
        """
        deadline = ProcessDeadline()
        self._deadline = deadline
        loop = ServerLoop()
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.get_loop()
                work = self._run_scoped(started, parent)
                deadline.status = loop.run_main(work, self.fault_finder)
                return deadline.status
        finally:
            deadline.watch(signals.ending())  # the loop has reset the handlers

    async def _run_scoped(self, started: Callable[[], object], parent: Connection | None) -> int:
        def ready() -> None:
            _tune_garbage_collector()
            started()

        loop = asyncio.get_running_loop()
        loop.set_default_executor(UnawaitedThreads())
        try:
            with anyio.CancelScope() as scope:
                self._stop = scope.cancel
                self._cancel = scope.cancel
                # Within the loop: uvloop loses a signal that comes between its handler and its run.
                for number in signals.ending():
                    if signal.getsignal(number) != signal.SIG_IGN:
                        loop.add_signal_handler(number, self._on_signal)
                self._deadline.watch(signals.ending())
                if parent is not None:
                    loop.add_reader(parent, self._on_signal, parent)
                await self.run(ready)
        except BootError:
            raise
        except Exception as error:
            plugin = self.fault_finder.blame(error)
            log.critical("the server ends with an unexpected error", **plugin, exc_info=error)
            return 1
        return int(self._stopping.is_set() and scope.cancel_called)

    def _on_signal(self, parent: Connection | None = None) -> None:
        loop = asyncio.get_running_loop()
        if parent is not None:  # its end is readable from now on
            loop.remove_reader(parent)
            self._deadline.exit_within(END_SECONDS + FORCED_SECONDS)
        if self._signalled:
            self._force()
        else:
            self._signalled = True
            self._stop()
            loop.call_later(END_SECONDS, self._force)

    def _force(self) -> None:
        """Cancel the tasks that still run; the process exits soon even if they take longer."""
        self._stopping.set()
        self._cancel()
        self._deadline.exit_within(FORCED_SECONDS)
        asyncio.get_running_loop().call_later(FORCED_SECONDS / 2, self._report_tasks)

    def _report_tasks(self) -> None:
        """Name the plugins whose tasks go on although they are cancelled."""
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        find_step = self.fault_finder.find_last_plugin_step
        for step in {find_step(steps_waiting(coroutine)) for coroutine in coroutines}:
            if step is not None and step.is_foreign:
                log.error("a task does not end", plugin=step.plugin, at=step.at, remedy=LET_PASS)


class UnawaitedThreads(ThreadPoolExecutor):
    """The event loop's threads, which its end does not wait for: see `ProcessDeadline`."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work."""
        super().shutdown(wait=False, cancel_futures=cancel_futures)


def _tune_garbage_collector() -> None:
    """Exclude permanent objects, and collect rarely: reference counts free nearly all of a request.

    The collector took a tenth of the processor time of a quick request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def run_check(check: Callable[[], object]) -> None:
    """Check a subsystem; a failure is logged."""
    try:
        check()
    except Exception as error:
        log.error("a check of a subsystem failed", exc_info=error)


@contextmanager
def bound_socket(
    config: Config, prepare: Callable[[], object] = _do_nothing
) -> Generator[socket.socket]:
    """Bind the address before anything else starts. Raises BootError with the remedy.

    `prepare` is called before, and again before a second try if the address is in use.
    """
    host = config.server.host
    port = config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio sets TCP_NODELAY: no reply waits 40 ms for its second half.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            prepare()
            try:
                listener.bind((host, port))
            except OSError:
                prepare()
                listener.bind((host, port))
            listener.listen(2048)
        except (OSError, TypeError) as error:
            problem = (getattr(error, "strerror", None) or str(error)).lower()
            remedy = "choose another with --host or --port"
            raise BootError(f"address {host}:{port}", problem, remedy) from None
        yield listener


def _print_banner(
    kernel: Kernel,
    server: contract.DatabaseServer | None,
    listener: socket.socket,
    of_child: Sequence[str] = (),
) -> None:
    """Print the address and the notices; of several processes, those of the first."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    below = [*kernel.context.notices, *of_child]
    below.append(f"Data:  {kernel.config.data_dir}")
    below += server.notice.splitlines() if server else []
    below.append("Docs:  docs/quickstart.md; Ctrl-C stops the server.")
    lines = [f"Caudex {VERSION} on http://{shown}:{port}", *below]
    print("\n  ".join(lines), file=sys.stderr, flush=True)
