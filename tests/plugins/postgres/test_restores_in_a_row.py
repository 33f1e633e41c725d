"""Restores to random times, one after the other, against the writes that were acknowledged."""

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import anyio
import psycopg
import pytest

from plugins.postgres import EmbeddedPostgresError, EmbeddedServer, PostgresConfig
from plugins.postgres.archiving.backups import BaseBackups

ROUNDS = 5
WRITES = 30


@dataclass(frozen=True)
class Write:
    """An acknowledged write."""

    number: int
    began: datetime
    acknowledged: datetime


@dataclass
class Past:
    """What the current cluster has: the writes, and the times at which they were its content."""

    writes: list[Write]
    served: list[tuple[datetime, datetime]]

    def has(self, at: datetime) -> bool:
        return any(start <= at <= end for start, end in self.served)

    def until(self, at: datetime) -> "Past":
        writes = [write for write in self.writes if write.began <= at]
        served = [(start, min(end, at)) for start, end in self.served if start <= at]
        return Past(writes, served)


class Deployment:
    """A server with an archive, and what it should have."""

    def __init__(self, data: Path, folder: Path, dice: random.Random) -> None:
        # What is acknowledged survives a kill, as in production.
        settings = PostgresConfig(
            port=0, ephemeral=True, archive=str(folder / "wal"),
            settings={"synchronous_commit": True},
        )  # fmt: skip
        self.data = data
        self.server = EmbeddedServer(data, settings)
        self.base_backups = BaseBackups(data, settings, SimpleNamespace(fetch=_none))
        self.dice = dice
        self.past = Past([], [])
        self.periods: list[tuple[datetime, datetime]] = []
        self.number = 0

    def serve(self, *, killed: bool) -> None:
        """Write for a while, perhaps make a base backup, and end."""
        began = datetime.now(UTC)
        with psycopg.connect(self.server.dsn(), autocommit=True) as connection:
            backed_up_at = self.dice.randrange(2 * WRITES)
            for step in range(WRITES):
                self.write(connection)
                if step == backed_up_at:
                    anyio.run(self.base_backups.step)
                time.sleep(self.dice.uniform(0, 0.02))
        ended = datetime.now(UTC)
        if killed:
            self.kill()
        self.server.stop()
        self.past.served.append((began, ended))
        self.periods.append((began, ended))

    def choose_time(self) -> datetime:
        """Choose a time at which a server wrote, on whatever branch."""
        start, end = self.dice.choice(self.periods)
        return start + (end - start) * self.dice.random()

    def write(self, connection: psycopg.Connection) -> None:
        self.number += 1
        began = datetime.now(UTC)
        connection.execute("insert into kept values (%s)", [self.number])
        self.past.writes.append(Write(self.number, began, datetime.now(UTC)))

    def kill(self) -> None:
        """End PostgreSQL before it archives the rest of its log."""
        keeper = self.server._keeper
        assert keeper
        assert keeper.postmaster
        keeper.postmaster._process.kill()
        keeper.postmaster._process.wait()

    def content(self) -> set[int]:
        with psycopg.connect(self.server.dsn()) as connection:
            return {number for (number,) in connection.execute("select number from kept")}

    def restore(self, at: datetime) -> bool:
        """Restore a time and compare, or see it refused. Returns whether it was restored."""
        try:
            self.server.recover(at)
        except EmbeddedPostgresError as error:
            self.check_refusal(at, str(error))
            return False
        assert self.past.has(at)
        past = self.past.until(at)
        content = self.content()
        required = {write.number for write in past.writes if write.acknowledged <= at}
        possible = {write.number for write in past.writes}
        assert required <= content <= possible
        past.writes = [write for write in past.writes if write.number in content]
        self.past = past
        return True

    def check_refusal(self, at: datetime, reason: str) -> None:
        """A refused time is of a branch that was left, or after the last write before a kill."""
        if self.past.has(at):
            assert "the log ends before" in reason
            assert all(write.acknowledged <= at for write in self.past.writes)
        else:
            assert "was left (timeline " in reason


async def _none(_: str) -> bytes | None:
    return None


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_every_restore_gives_the_acknowledged_writes_of_its_time_and_no_other(
    data: Path, folder: Path, seed: int
) -> None:
    dice = random.Random(seed)
    deployment = Deployment(data, folder, dice)
    deployment.server.start()
    anyio.run(deployment.base_backups.step)
    restored = 0
    try:
        while restored < ROUNDS:
            deployment.serve(killed=dice.random() < 0.3)
            while not deployment.restore(deployment.choose_time()):
                pass
            restored += 1
    finally:
        deployment.server.stop()
