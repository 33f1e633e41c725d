"""Two PostgreSQL servers in place of two machines: a primary and its streaming standby."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from plugins.postgres import EmbeddedServer, PostgresConfig
from plugins.postgres.layout import Layout, read_password
from plugins.postgres.postmaster import Plan, Postmaster
from plugins.postgres.processes import postgres_processes
from plugins.postgres.state import choose_port, choose_socket_dir, make_dsn
from tests.faults.support import ask
from tests.waiting import eventually

STREAMING = "select count(*) from pg_stat_replication where state = 'streaming'"
DATABASE = "replicated"
SYNCHRONOUS = "alter system set synchronous_standby_names = '*'"
RELOAD = "select pg_reload_conf()"
PROMOTE = "select pg_promote(wait_seconds => 30)"
COPY = ("--write-recovery-conf", "--checkpoint=fast")


class Pair:
    """A primary and its standby; both end with the test."""

    def __init__(self, folder: Path, *, synchronous: bool = True) -> None:
        """With `synchronous` a commit waits for the standby's disk."""
        self._folder = folder
        self._synchronous = synchronous
        self._primary = EmbeddedServer(folder / "one-data", PostgresConfig(port=0))
        self._layout = Layout(folder / "two-data")
        self._plan: Plan | None = None
        self._standby: Postmaster | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        plan = self._primary.start().plan
        ask(self.primary(), f"create database {DATABASE}")
        self._layout.prepare()
        shutil.copyfile(self._folder / "one-data" / "postgres.password", self._layout.password)
        self._layout.password.chmod(0o600)
        self._copy(plan)
        socket_dir = choose_socket_dir(self._layout.pgdata, plan.account)
        port = choose_port(0, strict=False)
        self._plan = replace(plan, layout=self._layout, port=port, socket_dir=socket_dir)
        self._standby = Postmaster(self._plan)
        eventually(lambda: ask(self.primary(), STREAMING) == [(1,)], 30, "no standby streams")
        if self._synchronous:
            ask(self.primary(), SYNCHRONOUS)
            ask(self.primary(), RELOAD)

    def _copy(self, plan: Plan) -> None:
        """Copy the primary's cluster, under the account that runs both."""
        self._layout.pgdata.mkdir(mode=0o700)
        plan.account.take_over(self._layout.pgdata)
        program, pgdata = plan.binaries.program("pg_basebackup"), self._layout.pgdata
        place = (f"--dbname={self.primary()}", f"--pgdata={pgdata}", "--no-sync")
        done = plan.account.run([program, *place, *COPY])
        assert done.returncode == 0, done.stderr

    def __exit__(self, *_: object) -> None:
        if self._standby is not None:
            self._standby.stop(5.0)
        with suppress(ProcessLookupError):
            self._primary.stop(5.0)

    def primary(self, database: str = "postgres") -> str:
        """The first server's DSN."""
        return self._primary.dsn(database, tcp=True)

    def standby(self, database: str = "postgres") -> str:
        """The second server's DSN."""
        assert self._plan is not None
        return make_dsn(read_password(self._layout), self._plan.port, None, database)

    @property
    def standby_data(self) -> Path:
        """The second server's folder."""
        return self._layout.pgdata

    @property
    def dsn(self) -> str:
        """What a server of ours is configured with: both hosts, of which one accepts writes."""
        assert self._plan is not None
        hosts = f"127.0.0.1:{self._primary.port},127.0.0.1:{self._plan.port}"
        login = f"postgres:{quote(read_password(self._layout), safe='')}"
        return f"postgresql://{login}@{hosts}/{DATABASE}?target_session_attrs=read-write"

    def lose_primary(self) -> None:
        """End every process of the first server at once, as the loss of its machine does."""
        self._lose(self._folder / "one-data" / "postgres")

    def lose_standby(self) -> None:
        """End every process of the second server at once."""
        self._lose(self._layout.pgdata)

    def _lose(self, pgdata: Path) -> None:
        while pids := postgres_processes(pgdata):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def cut_off(self) -> None:
        """Let the standby catch up, and then receive nothing more."""
        behind = "select count(*) from pg_stat_replication where replay_lsn < pg_current_wal_lsn()"
        eventually(lambda: ask(self.primary(), behind) == [(0,)], 10, "the standby is behind")
        ask(self.standby(), "alter system set primary_conninfo = ''")
        ask(self.standby(), RELOAD)
        eventually(lambda: ask(self.primary(), STREAMING) == [(0,)], 10, "it still streams")

    def promote(self) -> None:
        """Let the standby accept writes."""
        assert ask(self.standby(), PROMOTE) == [(True,)]
