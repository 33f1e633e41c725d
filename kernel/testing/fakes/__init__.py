"""Services in memory, for tests of rules that need neither a server nor a database.

Each keeps the promises of its Protocol in `kernel.contracts` as far as a test can see them, and
nothing outlives it. What only PostgreSQL can tell (filters, constraints, transactions) is tested
on a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.contracts.access import ACCESS, Access
from kernel.contracts.apps import APPS, Apps
from kernel.contracts.audit import AUDIT, Audit
from kernel.contracts.identity import IDENTITY, SESSIONS, Identity, Sessions
from kernel.contracts.jobs import JOBS, Jobs
from kernel.contracts.logs import LOGS, Logs
from kernel.contracts.records import RECORDS, Records
from kernel.contracts.services import ServiceKey
from kernel.contracts.statements import NOTIFICATIONS, Notifications
from kernel.contracts.vault import VAULT, Vault
from kernel.contracts.workers import WORKERS, Workers
from kernel.testing.fakes.accounts import FakeAccess, FakeIdentity, FakeSessions
from kernel.testing.fakes.apps import FakeApps, FakeRecords
from kernel.testing.fakes.kept import FakeAudit, FakeLogs, FakeVault
from kernel.testing.fakes.notifications import FakeNotifications
from kernel.testing.fakes.work import FakeJobs, FakeWorkers


def every_fake() -> Mapping[ServiceKey[Any], Any]:
    """One fake for each service; that they satisfy the Protocols is for the type checker to say."""
    access: Access = FakeAccess()
    apps: Apps = FakeApps()
    audit: Audit = FakeAudit()
    accounts = FakeIdentity()
    identity: Identity = accounts
    sessions: Sessions = FakeSessions(accounts)
    jobs: Jobs = FakeJobs()
    logs: Logs = FakeLogs()
    records: Records = FakeRecords()
    notifications: Notifications = FakeNotifications()
    vault: Vault = FakeVault()
    workers: Workers = FakeWorkers()
    return {
        ACCESS: access, APPS: apps, AUDIT: audit, IDENTITY: identity, JOBS: jobs, LOGS: logs,
        NOTIFICATIONS: notifications, RECORDS: records, SESSIONS: sessions, VAULT: vault,
        WORKERS: workers,
    }  # fmt: skip


__all__ = [
    "FakeAccess", "FakeApps", "FakeAudit", "FakeIdentity", "FakeJobs", "FakeLogs",
    "FakeNotifications", "FakeRecords", "FakeSessions", "FakeVault", "FakeWorkers", "every_fake",
]  # fmt: skip
