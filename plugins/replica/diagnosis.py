"""What `caudex doctor` reports of the replica and of standbys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psycopg

from kernel.public import DatabaseQuery, Finding

CONNECT_SECONDS: Final = 5
ASYNCHRONOUS: Final = """
select count(*) from pg_stat_replication where sync_state = 'async'
having count(*) > 0 and count(*) = (select count(*) from pg_stat_replication)"""


def replica_findings(url: str) -> Iterator[Finding]:
    """Connect to the replica, where one is configured."""
    if not url:
        return
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS) as connection:
            row = connection.execute("select pg_is_in_recovery()").fetchone()
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[-1]
        text = f"it does not answer: {reason}; check [database] replica_url"
        yield Finding(name="replica", text=text, state="fail")
        return
    if row == (True,):
        yield Finding(name="replica", text="it answers, and follows a primary")
        return
    text = "it follows no primary, so its data grow old; let [database] replica_url name a standby"
    yield Finding(name="replica", text=text, state="warn")


def standby_findings(query: DatabaseQuery) -> Iterator[Finding]:
    """Warn where a standby could take over that lacks acknowledged writes."""
    if query(ASYNCHRONOUS):
        text = (
            "no standby is synchronous: when one takes over, writes of the last moments that were "
            "acknowledged can be lost; set synchronous_standby_names of PostgreSQL to prevent that"
        )
        yield Finding(name="standby", text=text, state="warn")
