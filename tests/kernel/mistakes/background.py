"""Mistakes in what no request waits for."""

from __future__ import annotations

import httpx

from kernel.testing import Server
from tests.kernel.mistakes.mistake import Mistake, handler, visit

BLOCKED = "the event loop is blocked"
TASK = "use self.tasks"


def tasks(code: str) -> str:
    """Return a plugin with a background task that runs this code."""
    return f"""
@hookimpl
@asynccontextmanager
async def lifespan(self, services):
    self.tasks.start(self.work, "work")
    yield

async def work(self):
    {code}
"""


def install(server: Server, name: str) -> httpx.Response:
    """Read the plugin's route, which publishes something."""
    return visit(server, name)


BACKGROUND = {
    "task_raises": Mistake(
        title="a background task raises",
        body=tasks('raise ValueError("no")  # here'),
        ask=lambda server, name: None,
        event="a task failed",
        says={"error": "ValueError: no"},
    ),
    "task_exits": Mistake(
        title="a background task calls sys.exit",
        body=tasks("sys.exit(3)  # here"),
        ask=lambda server, name: None,
        event="a task failed",
        says={"error": "SystemExit"},
        remedy="raise an error",
    ),
    "task_sql": Mistake(
        title="a column is misspelt in a background task",
        body="""
            requires = (STATEMENTS,)

            @hookimpl
            @asynccontextmanager
            async def lifespan(self, services):
                self._services = services
                self.tasks.start(self.work, "work")
                yield

            async def work(self):
                await self._services.get(STATEMENTS).fetch("select nothing from pg_class")  # here
        """,
        ask=lambda server, name: None,
        event="a task failed",
        says={"error": 'column "nothing" does not exist'},
        remedy="correct the statement",
    ),
    "task_is_lost": Mistake(
        title="a task raises that no code awaits",
        body=handler(
            """
            asyncio.create_task(self.work())
            return reply(dict())
            """,
            head="""
            async def work(self):
                raise ValueError("lost")  # here
            """,
        ),
        status=200,
        event="a task failed that no code waits for",
        remedy=TASK,
    ),
    "task_exits_alone": Mistake(
        title="a task that no code awaits calls sys.exit",
        body=handler(
            """
            asyncio.create_task(self.work())
            return reply(dict())
            """,
            head="""
            async def work(self):
                sys.exit(3)  # here
            """,
        ),
        status=200,
        event="a plugin tried to end the server",
        remedy="raise an error",
    ),
    "callback_raises": Mistake(
        title="a callback of the event loop raises",
        body=handler(
            """
            asyncio.get_running_loop().call_soon(self.work)
            return reply(dict())
            """,
            head="""
            def work(self):
                raise ValueError("lost")  # here
            """,
        ),
        status=200,
        event="a task failed that no code waits for",
        remedy=TASK,
    ),
    "thread_raises": Mistake(
        title="a thread raises",
        body=handler(
            """
            threading.Thread(target=self.work).start()
            return reply(dict())
            """,
            head="""
            def work(self):
                raise ValueError("lost")  # here
            """,
        ),
        status=200,
        event="a thread failed",
        remedy="use anyio.to_thread.run_sync",
    ),
    "after_commit": Mistake(
        title="a callback after a commit raises",
        body=handler(
            """
            async def work(tx):
                await tx.execute("select 1")
                tx.after_commit(self.note)

            await self._services.get(STATEMENTS).run(request.actor, work)
            return reply(dict())
            """,
            head="""
            async def note(self):
                raise ValueError("no")  # here
            """,
        ),
        status=200,
        event="a callback after a commit failed",
    ),
    "subscriber": Mistake(
        title="a subscriber raises",
        body=handler(
            """
            self._services.get(NOTIFICATIONS).subscribe("changes", self.note)

            async def work(tx):
                await tx.publish("changes")

            await self._services.get(STATEMENTS).run(request.actor, work)
            return reply(dict())
            """,
            head="""
            finds = (NOTIFICATIONS,)

            async def note(self, payload):
                raise ValueError("no")  # here
            """,
        ),
        status=200,
        event="a subscriber failed",
    ),
    "sleeps": Mistake(
        title="a handler sleeps by time.sleep",
        body=handler("""
            time.sleep(0.7)  # here
            return reply(dict())
        """),
        status=200,
        event=BLOCKED,
        remedy="await it, or run it in a thread",
    ),
    "waits_for_a_pipe": Mistake(
        title="a handler opens a pipe that no process writes to",
        body=handler("""
            path = f"/tmp/caudex-pipe-{os.getpid()}"
            os.mkfifo(path)
            write = threading.Timer(0.7, lambda: open(path, "w").close())
            write.start()
            open(path).close()  # here
            write.join()
            os.unlink(path)
            return reply(dict())
        """),
        status=200,
        event=BLOCKED,
        remedy="await it, or run it in a thread",
    ),
    "calls_a_server": Mistake(
        title="a handler calls a slow server by a library that blocks",
        body=handler("""
            import socket, urllib.request
            with socket.create_server(("127.0.0.1", 0)) as silent:
                port = silent.getsockname()[1]
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=0.7)  # here
                except OSError:
                    pass
            return reply(dict())
        """),
        status=200,
        event=BLOCKED,
        remedy="await it, or run it in a thread",
    ),
}
