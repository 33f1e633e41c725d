"""Fixtures, fakes and recorders for authors of plugins; loaded as a pytest plugin.

A test is a plain function. The server runs in a thread, on a PostgreSQL of the test run. Tests
send real HTTP requests:

```python
@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"plugins": [NotesPlugin]}


def test_an_editor_writes(server: Server) -> None:
    editor = server.user(permissions={"core": ["notes.write"]})
    assert editor.post("/api/v1/notes", json={"text": "Tea"}).status_code == 201
```
"""

from kernel.testing.databases import Postgres
from kernel.testing.fakes import (
    FakeAccess,
    FakeAppLogins,
    FakeApps,
    FakeAudit,
    FakeIdentity,
    FakeJobs,
    FakeLogs,
    FakeNotifications,
    FakeRecords,
    FakeSessions,
    FakeTraces,
    FakeVault,
    FakeWorkers,
)
from kernel.testing.fixtures import database, make_server, postgres, server, server_options
from kernel.testing.options import MoreOptions, Overrides, PluginLike, ServerOptions
from kernel.testing.recorders import EventRecorder, HookCall, HookRecorder
from kernel.testing.servers import PASSWORD, Client, MakeServer, Server, make_config, running_server

__all__ = [
    "PASSWORD", "Client", "EventRecorder", "FakeAccess", "FakeAppLogins", "FakeApps", "FakeAudit",
    "FakeIdentity", "FakeJobs", "FakeLogs", "FakeNotifications", "FakeRecords", "FakeSessions",
    "FakeTraces", "FakeVault", "FakeWorkers", "HookCall", "HookRecorder", "MakeServer",
    "MoreOptions",
    "Overrides", "PluginLike", "Postgres", "Server", "ServerOptions", "database", "make_config",
    "make_server", "postgres", "running_server", "server", "server_options",
]  # fmt: skip
