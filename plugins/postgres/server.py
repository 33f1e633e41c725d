"""The embedded server as its owner sees it: start, watch, stop, and the address for clients."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from .account import Account, server_account
from .archiving.archive import Archive
from .archiving.control import find_control, read_control
from .archiving.recovery import BEFORE, Restored, recover, select_target
from .binaries import Binaries, find_binaries, reachable
from .config import DEFAULTS, EPHEMERAL, EmbeddedPostgresError, PostgresConfig, checked_settings
from .layout import Layout, make_cluster, read_password
from .postmaster import Keeper, Plan, Postmaster
from .processes import clear_orphans, remove_lock_files, stop_orphans, sweep_init_folders
from .role import prepare_role, role_password
from .state import (
    LOOPBACK,
    DataLock,
    ServerState,
    choose_port,
    choose_socket_dir,
    login_dsn,
    make_dsn,
    port_is_free,
    read_state,
    remove_socket_dir,
    write_state,
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Started:
    """How a server was started; `wanted_port` is the configured one, 0 for any."""

    plan: Plan
    wanted_port: int
    new_cluster: bool

    @property
    def notices(self) -> tuple[str, ...]:
        """What an operator should read: one line each, the surprising ones last."""
        plan = self.plan
        cluster = "the cluster"
        if self.new_cluster:
            cluster = "a new cluster"
        running = (
            f"PostgreSQL {plan.binaries.version} on {LOOPBACK}:{plan.port} "
            f"as account {plan.account.name}, with {cluster} in {plan.layout.data_dir}"
        )
        if self.wanted_port in (0, plan.port):
            return (running,)
        moved = f"port {self.wanted_port} is taken: the embedded PostgreSQL uses {plan.port}"
        return running, moved


class EmbeddedServer:
    """PostgreSQL for one data folder, owned by this process and ended with it.

    `start` and `watch` belong on the main thread. Pools must be closed before `stop`.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        config: PostgresConfig | None = None,
        *,
        strict_port: bool = False,
        major: int | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`strict_port` refuses to start on another port than the configured one; `major` is the
        version of a new cluster; `report` takes the lines of a start that is long."""
        if config is None:
            config = PostgresConfig()
        self._config = config
        self._layout = Layout(data_dir)
        self._strict_port = strict_port
        self._major = major
        self._report_line = report
        self._settings = _collect_settings(config)
        self._lock: DataLock | None = None
        self._plan: Plan | None = None
        self._keeper: Keeper | None = None
        self._owner = 0
        self._orphans_since: float | None = None

    @property
    def data_dir(self) -> Path:
        """The data folder, resolved."""
        return self._layout.data_dir

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self._running_plan().port

    @property
    def ready(self) -> bool:
        """Whether it took connections when `watch` last looked."""
        return self._keeper is not None and self._keeper.ready

    @property
    def pid(self) -> int | None:
        """The process id of the postmaster, while there is one."""
        if self._keeper is None or self._keeper.postmaster is None:
            return None
        return self._keeper.postmaster.pid

    def start(self) -> Started:
        """Start the server, creating the cluster where it does not exist; takes 0.2 to 3 s.

        Raises EmbeddedPostgresError, having undone everything, when that is not possible.
        """
        return self._begin_or_undo(self._start)

    def _begin_or_undo(self, begin: Callable[[], _T]) -> _T:
        if self._lock:
            raise EmbeddedPostgresError("the embedded PostgreSQL runs already: start it once only")
        self._owner = os.getpid()
        try:
            return begin()
        except BaseException as error:
            self.stop()
            if not isinstance(error, OSError):
                raise
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL cannot start ({error}): "
                f"see to space and rights in {self.data_dir}"
            ) from error

    def _own_folder(self) -> Account:
        """Take the data folder, and return the account to run under."""
        self._layout.prepare()
        self._lock = DataLock(self._layout.lock)
        account = server_account(self._layout.pgdata, self._config.account)
        self._require_way_in(account)
        self._sweep()
        return account

    def _start(self) -> Started:
        account = self._own_folder()
        version = self._layout.cluster_version()
        programs = find_binaries(version or self._major, self._config.bin_dir)
        binaries = reachable(programs, account, self.data_dir)
        if version is None:
            self._refuse_lost_swap()
            make_cluster(self._layout, binaries, account, durable=not self._config.ephemeral)
        read_password(self._layout)
        clear_orphans(self._layout.pgdata)
        self._launch(binaries, account)
        return Started(self._running_plan(), self._config.port, new_cluster=version is None)

    def _refuse_lost_swap(self) -> None:
        """Refuse a new cluster where a recovery was killed between its two renames."""
        for before in sorted(self.data_dir.glob(f"{BEFORE}*Z"), reverse=True):
            raise EmbeddedPostgresError(
                f"a restore was interrupted: rename {before} to {self._layout.pgdata}, "
                "then restore again"
            )

    def _require_way_in(self, account: Account) -> None:
        if not account.can_enter(self.data_dir):
            raise EmbeddedPostgresError(
                f"the data folder {self.data_dir} cannot be entered by the account {account.name}: "
                "choose another --data-dir, or open the way to it (chmod o+x)"
            )

    def _sweep(self) -> None:
        sweep_init_folders(self.data_dir)
        former_state = read_state(self._layout)
        if former_state is not None:
            remove_socket_dir(Path(former_state.socket_dir))
        self._layout.state.unlink(missing_ok=True)

    def _launch(self, binaries: Binaries, account: Account) -> None:
        port = choose_port(self._config.port, strict=self._strict_port)
        socket_dir = choose_socket_dir(self._layout.pgdata, account)
        settings = self._settings | self._prepare_archive(account)
        plan = Plan(self._layout, binaries, account, port, socket_dir, settings)
        for _ in range(2):
            try:
                return self._run(plan)
            except EmbeddedPostgresError:
                # Another process may have taken the port between our look and the launch.
                if port_is_free(plan.port):
                    raise
            plan = replace(plan, port=choose_port(self._config.port, strict=self._strict_port))
        return self._run(plan)

    def _prepare_archive(self, account: Account) -> dict[str, str]:
        """Prepare the archive, if there is one. A minute without a full segment ends it."""
        if not self._config.archive:
            return {}
        control = read_control(self._layout.pgdata)
        archive = Archive(self._config.archive, control.system)
        archive.prepare(account)
        archive.serve(control.timeline, self._layout.pgdata)
        timeout = self._settings.get("archive_timeout", "60")
        return {**archive.settings(), "archive_timeout": timeout}

    def recover(self, at: datetime) -> Restored:
        """Restore the cluster as it was at a time, and start it.

        The cluster may not run; it need not be able to start. Raises EmbeddedPostgresError, having
        changed nothing, where that is not possible.
        """
        if not self._config.archive:
            raise EmbeddedPostgresError(
                "there is no archive to restore from: set plugins.postgres.archive"
            )
        return self._begin_or_undo(partial(self._recover, at))

    def _recover(self, at: datetime) -> Restored:
        account = self._own_folder()
        if not self._layout.pgdata.exists():
            self._refuse_lost_swap()
        clear_orphans(self._layout.pgdata)
        control = find_control(self._layout.pgdata)
        target = select_target(self._config.archive, at, self._layout.pgdata, control)
        programs = find_binaries(target.base.cluster_version(), self._config.bin_dir)
        binaries = reachable(programs, account, self.data_dir)
        port = choose_port(0, strict=False)
        # It listens in its own folder, for as long as the log is replayed.
        plan = Plan(self._layout, binaries, account, port, self._layout.pgdata, self._settings)
        restored = recover(plan, target, self._report_line)
        self._launch(binaries, account)
        return restored

    def _run(self, plan: Plan) -> None:
        self._plan = plan
        postmaster = Postmaster(plan)
        self._keeper = Keeper(postmaster, self._relaunch, self._announce)
        try:
            postmaster.wait_ready(self._report_line)
        except EmbeddedPostgresError:
            postmaster.stop()  # before the port is examined or another postmaster is launched
            raise
        self._announce(postmaster)

    def _relaunch(self) -> Postmaster | None:
        now = time.monotonic()
        if self._orphans_since is None:
            self._orphans_since = now
        if stop_orphans(self._layout.pgdata, now - self._orphans_since):
            return None
        self._orphans_since = None
        remove_lock_files(self._layout.pgdata)
        return Postmaster(self._running_plan())

    def _announce(self, postmaster: Postmaster) -> None:
        plan = self._running_plan()
        state = ServerState(
            pid=os.getpid(),
            postmaster=postmaster.pid,
            port=plan.port,
            socket_dir=str(plan.socket_dir),
            bin_dir=str(plan.binaries.folder),
            version=plan.binaries.version,
            data=str(self._layout.pgdata),
        )
        write_state(self._layout, state)

    def _running_plan(self) -> Plan:
        if self._plan is None:
            raise EmbeddedPostgresError("the embedded PostgreSQL does not run: start it first")
        return self._plan

    def watch(self) -> str | None:
        """Bring a server that died back; returns at once, with a line worth logging or None.

        Call it about once a second while the server should run. The address does not change.
        """
        if self._keeper is None:
            return None
        return self._keeper.step()

    def stop(self, timeout: float = 30.0) -> None:
        """End the server and leave the data folder to the next owner; twice does no harm."""
        # A forked child inherits this object, but not the server.
        if self._lock is None or self._owner != os.getpid():
            return
        # Removed first, so that no command attaches to a server that is about to end.
        self._layout.state.unlink(missing_ok=True)
        try:
            if self._keeper and self._keeper.postmaster:
                self._keeper.postmaster.stop(timeout)
            if self._plan:
                remove_socket_dir(self._plan.socket_dir)
        finally:
            self._lock.release()
            self._lock = None
            self._plan = None
            self._keeper = None

    def dsn(self, dbname: str = "postgres", *, tcp: bool = False) -> str:
        """The superuser's libpq URI: over the Unix socket, or over TCP on the loopback address."""
        plan = self._running_plan()
        socket_dir = plan.socket_dir
        if tcp:
            socket_dir = None
        return make_dsn(read_password(self._layout), plan.port, socket_dir, dbname)

    def role_dsn(self) -> str:
        """Prepare the ordinary role that owns the database, and return its libpq URI."""
        plan = self._running_plan()
        password = read_password(self._layout)
        prepare_role(self.dsn(), role_password(password))
        return login_dsn(self._layout, plan.port, plan.socket_dir, role=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def _collect_settings(config: PostgresConfig) -> dict[str, str]:
    """Return the settings of the cluster; those of the operator come last: they win."""
    settings = dict(DEFAULTS)
    if config.ephemeral:
        settings |= EPHEMERAL
    limits = {"max_connections": config.max_connections, "shared_buffers": config.shared_buffers}
    return settings | checked_settings({**limits, **config.settings})
