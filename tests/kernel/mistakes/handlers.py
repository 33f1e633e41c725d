"""Mistakes in handlers and middleware."""

from __future__ import annotations

import httpx

from kernel.testing import Server
from tests.kernel.mistakes.mistake import Mistake, handler


def aborted(server: Server, name: str) -> None:
    """Ask for a reply that breaks off."""
    try:
        server.http.get(f"/{name}")
    except httpx.RemoteProtocolError:
        return
    raise AssertionError("the reply is whole")


def twice(server: Server, name: str) -> httpx.Response:
    """Ask twice: the second request meets what the first one left."""
    server.http.get(f"/{name}")
    return server.http.get(f"/{name}")


def passing(server: Server, name: str) -> httpx.Response:
    """Ask for a path that only middleware answers."""
    return server.http.get("/health", headers={"x-mistake": name})


AWAIT = "await it"

HANDLERS = {
    "raises": Mistake(
        title="a handler raises what it does not expect",
        body=handler('return reply(dict()["missing"])  # here'),
        says={"error": "KeyError"},
    ),
    "setting": Mistake(
        title="a setting is misspelt where it is read",
        body=handler("return reply(self.config.colour)  # here"),
        says={"error": "AttributeError"},
    ),
    "asks": Mistake(
        title="a service is asked for by a key that no plugin provides",
        body=handler('return reply(self._services.get(ServiceKey("te" + "a")))  # here'),
        says={"error": "LookupError"},
    ),
    "returns_dict": Mistake(
        title="a handler returns a dict",
        body="""
            @hookimpl
            def register_routes(self, services):
                return [Route("GET", "/returns_dict", self.get, needs=PUBLIC)]

            async def get(self, request):  # here
                return {"a": 1}
        """,
        says={"error": "NoReply"},
        remedy="return reply(...)",
    ),
    "returns_nothing": Mistake(
        title="a handler returns nothing",
        body="""
            @hookimpl
            def register_routes(self, services):
                return [Route("GET", "/returns_nothing", self.get, needs=PUBLIC)]

            async def get(self, request):  # here
                reply({"a": 1})
        """,
        says={"error": "NoReply"},
        remedy="return reply(...)",
    ),
    "returns_coroutine": Mistake(
        title="a handler returns a coroutine without `await`",
        body="""
            @hookimpl
            def register_routes(self, services):
                return [Route("GET", "/returns_coroutine", self.get, needs=PUBLIC)]

            async def get(self, request):  # here
                return self.answer()

            async def answer(self):
                return reply({})
        """,
        says={"error": "NoReply"},
        remedy=AWAIT,
    ),
    "never_awaited": Mistake(
        title="a coroutine is called without `await`",
        body=handler(
            """
            self.save()  # here
            return reply(dict())
            """,
            head="async def save(self): ...",
        ),
        status=200,
        event="coroutine 'BrokenPlugin.save' was never awaited",
        remedy=AWAIT,
    ),
    "unserialisable": Mistake(
        title="a reply cannot be written as JSON",
        body=handler("return reply(dict(a=object()))  # here"),
        says={"error": "TypeError"},
    ),
    "stream_raises": Mistake(
        title="a stream raises in its middle",
        body=handler(
            "return stream_reply(self.pieces())",
            head="""
            async def pieces(self):
                yield b"["
                await anyio.sleep(0.05)
                raise ValueError("the third piece")  # here
            """,
        ),
        ask=aborted,
        status=None,
        says={"error": "ValueError"},
    ),
    "stream_of_numbers": Mistake(
        title="a stream yields what is no bytes",
        body="""
            @hookimpl
            def register_routes(self, services):
                return [Route("GET", "/stream_of_numbers", self.get, needs=PUBLIC)]

            async def get(self, request):  # here
                return stream_reply(self.pieces())

            async def pieces(self):
                yield b"["
                yield 1
        """,
        ask=aborted,
        status=None,
        says={"error": "AttributeError"},
    ),
    "groups": Mistake(
        title="tasks of a group fail, and so does a library",
        body=handler("""
            async with anyio.create_task_group() as tasks:  # here
                tasks.start_soon(anyio.open_file, "/no/such/file")
            return reply(dict())
        """),
        says={"error": "ExceptionGroup"},
    ),
    "group_of_its_own": Mistake(
        title="a task of a group fails",
        body=handler(
            """
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.work)
            return reply(dict())
            """,
            head="""
            async def work(self):
                raise ValueError("a part")  # here
            """,
        ),
        says={"error": "ExceptionGroup"},
    ),
    "exits": Mistake(
        title="a handler calls sys.exit",
        body=handler("sys.exit(3)  # here"),
        says={"error": "SystemExit"},
        remedy="raise an error",
    ),
    "interrupts": Mistake(
        title="a handler raises KeyboardInterrupt",
        body=handler("raise KeyboardInterrupt  # here"),
        says={"error": "KeyboardInterrupt"},
        remedy="raise an error",
    ),
    "cancels": Mistake(
        title="a handler raises CancelledError",
        body=handler("raise asyncio.CancelledError  # here"),
        says={"error": "CancelledError"},
        remedy="catch CancelledError where you await a task",
    ),
    "recursion": Mistake(
        title="a function calls itself without an end",
        body=handler(
            "return reply(self.deeper(0))",
            head="""
            def deeper(self, depth):
                return self.deeper(depth + 1)  # here
            """,
        ),
        says={"error": "RecursionError"},
    ),
    "memory": Mistake(
        title="a list is larger than the memory",
        body=handler("return reply(len(bytearray(1 << 60)))  # here"),
        says={"error": "MemoryError"},
    ),
    "nested_loop": Mistake(
        title="a handler runs an event loop of its own",
        body=handler(
            """
            work = self.work()
            try:
                asyncio.run(work)  # here
            finally:
                work.close()
            """,
            head="async def work(self): ...",
        ),
        says={"error": "RuntimeError"},
    ),
    "stops_the_loop": Mistake(
        title="a handler stops the event loop",
        body=handler("asyncio.get_running_loop().stop()  # here"),
        remedy="end your own tasks",
    ),
    "closes_the_pool": Mistake(
        title="a plugin closes the pool of connections",
        body=handler(
            "await self._services.get(POOL).connections.pool.close()  # here",
            head="finds = (POOL,)",
        ),
        says={"detail": "a plugin closes the pool of the server"},
        remedy="leave the pool open",
    ),
    "keeps_the_request": Mistake(
        title="a request is kept and read after its end",
        body=handler("""
            if not hasattr(self, "kept"):
                self.kept = request
                return reply(dict())
            return reply(dict(body=str(await self.kept.body())))  # here
        """),
        ask=twice,
        says={"error": "RuntimeError"},
    ),
    "middleware_raises": Mistake(
        title="a middleware raises",
        body="""
            @hookimpl
            def register_middleware(self, services):
                def wrap(app):
                    async def call(scope, receive, send):
                        if (b"x-mistake", self.name.encode()) in scope["headers"]:
                            raise ValueError("no")  # here
                        await app(scope, receive, send)
                    return call
                return [wrap]
        """,
        ask=passing,
        says={"error": "ValueError"},
    ),
    "middleware_is_silent": Mistake(
        title="a middleware sends no reply",
        body="""
            @hookimpl  # here
            def register_middleware(self, services):
                def wrap(app):
                    async def call(scope, receive, send):
                        if (b"x-mistake", self.name.encode()) not in scope["headers"]:
                            await app(scope, receive, send)
                    return call
                return [wrap]
        """,
        ask=passing,
        event="a request failed",
        remedy="await the application that it wraps, or send a reply",
    ),
}
