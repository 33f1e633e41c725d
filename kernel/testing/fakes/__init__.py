"""Services in memory, for tests of rules without a server or a database.

Each fake behaves as its Protocol in `kernel.contracts` says: docstrings of methods name exceptions.
Filters, constraints and transactions need PostgreSQL: test them on a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel.contracts.access import ACCESS, Access
from kernel.contracts.apps import APPS, Apps
from kernel.contracts.base import ServiceKey
from kernel.contracts.identity import IDENTITY, SESSIONS, Identity, Sessions
from kernel.contracts.jobs import JOBS, Jobs
from kernel.contracts.logs import AUDIT, LOGS, Audit, Logs
from kernel.contracts.records import RECORDS, Records
from kernel.contracts.server import SAVED_VIEWS, SavedViews
from kernel.contracts.statements import NOTIFICATIONS, Notifications
from kernel.contracts.trail import TRACES, Traces
from kernel.contracts.vault import VAULT, Vault
from kernel.contracts.workers import APP_LOGINS, WORKERS, AppLogins, Workers
from kernel.testing.fakes.accounts import FakeAccess, FakeIdentity, FakeSessions
from kernel.testing.fakes.apps import FakeApps
from kernel.testing.fakes.background import FakeAppLogins, FakeJobs, FakeNotifications, FakeWorkers
from kernel.testing.fakes.records import FakeRecords
from kernel.testing.fakes.stored import FakeAudit, FakeLogs, FakeSavedViews, FakeTraces, FakeVault


def every_fake() -> Mapping[ServiceKey[Any], Any]:
    """Return a fake for each service; the type checker compares them with the Protocols."""
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
    traces: Traces = FakeTraces()
    vault: Vault = FakeVault()
    workers: Workers = FakeWorkers()
    logins: AppLogins = FakeAppLogins()
    views: SavedViews = FakeSavedViews()
    return {
        ACCESS: access, APPS: apps, APP_LOGINS: logins, AUDIT: audit, IDENTITY: identity,
        JOBS: jobs, LOGS: logs, NOTIFICATIONS: notifications, RECORDS: records,
        SAVED_VIEWS: views, SESSIONS: sessions, TRACES: traces, VAULT: vault, WORKERS: workers,
    }  # fmt: skip


__all__ = [
    "FakeAccess", "FakeAppLogins", "FakeApps", "FakeAudit", "FakeIdentity", "FakeJobs", "FakeLogs",
    "FakeNotifications", "FakeRecords", "FakeSavedViews", "FakeSessions", "FakeTraces", "FakeVault",
    "FakeWorkers", "every_fake",
]  # fmt: skip
