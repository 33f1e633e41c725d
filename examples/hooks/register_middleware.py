"""Wraps the application: every reply names the office that sent it. Errors are raised through it;
the kernel writes their replies further out."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caudex import Middleware, Plugin, Services, hookimpl


def with_office(app: ASGIApp) -> ASGIApp:
    """Pure ASGI: nothing is buffered, streams stay streams."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_office(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-office", b"Lisbon")]}
            await send(message)

        await app(scope, receive, send_with_office)

    return handle


class RegisterMiddlewarePlugin(Plugin):
    """Names the office."""

    name = "register_middleware"

    @hookimpl
    def register_middleware(self, services: Services) -> list[Middleware]:
        """The first is the outermost."""
        return [with_office]
