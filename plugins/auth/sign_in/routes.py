"""The routes of the second factor."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.public import (
    ANY_USER,
    CORE_ADMIN,
    BadRequest,
    Message,
    Request,
    Response,
    Route,
    Services,
    reply,
)
from plugins.auth.keys.service import refuse_key
from plugins.auth.models import MAX_BODY
from plugins.auth.service import AUTH, Auth

from .models import Code, FactorState, Password, RecoveryCodes, TotpSecret


class SecondFactorRoutes:
    """Decodes requests, calls the service, encodes replies."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> Sequence[Route]:
        """Declare the routes."""
        totp = "/api/v1/auth/totp"
        return [
            Route(
                "GET", totp, self.show, ANY_USER, max_body=MAX_BODY, returns=FactorState,
                errors=(403,),
            ),
            Route(
                "POST", f"{totp}/recovery-codes", self.renew, ANY_USER, Code, MAX_BODY,
                RecoveryCodes, errors=(401, 403, 404, 429),
            ),
            Route(
                "POST", totp, self.begin, ANY_USER, max_body=MAX_BODY, returns=TotpSecret,
                errors=(400, 403),
            ),
            Route(
                "POST", f"{totp}/confirm", self.confirm, ANY_USER, Code, MAX_BODY, RecoveryCodes,
                errors=(403,),
            ),
            Route(
                "DELETE", totp, self.remove, ANY_USER, Password, MAX_BODY, Message,
                errors=(403, 404, 429),
            ),
            Route(
                "DELETE", "/api/v1/users/{id}/totp", self.reset, CORE_ADMIN, None, MAX_BODY,
                Message, errors=(400,),
            ),
        ]  # fmt: skip

    @property
    def _auth(self) -> Auth:
        return self._services.get(AUTH)

    async def show(self, request: Request) -> Response:
        """Show whether the caller has a second factor, and how many recovery codes are left."""
        return reply(await self._auth.factors.show(request.actor.user_id or ""))

    async def renew(self, request: Request, body: Code) -> Response:
        """Replace the caller's recovery codes by new ones, which are shown once; needs a code."""
        refuse_key(request.actor)
        use_code = await self._auth.logins.check_code(request.actor, body.code)
        return reply(await self._auth.factors.renew_codes(request.actor, use_code))

    async def begin(self, request: Request) -> Response:
        """Begin to set up a second factor: get a secret for an authenticator app."""
        refuse_key(request.actor)
        return reply(await self._auth.factors.begin(request.actor))

    async def confirm(self, request: Request, body: Code) -> Response:
        """Confirm the second factor by a code; get the recovery codes, which are shown once."""
        refuse_key(request.actor)
        return reply(await self._auth.factors.confirm(request.actor, body.code))

    async def remove(self, request: Request, body: Password) -> Response:
        """Remove the caller's second factor."""
        refuse_key(request.actor)
        await self._auth.logins.check_password(request.actor, body.password)
        await self._auth.factors.remove(request.actor, request.actor.user_id or "")
        return reply({"message": "second factor removed"})

    async def reset(self, request: Request) -> Response:
        """Remove the second factor of an account whose authenticator was lost."""
        refuse_key(request.actor)
        user_id = request.path("id")
        user = await self._auth.accounts.require(user_id)
        if user.kind == "service":
            raise BadRequest("a service account has no second factor")
        await self._auth.factors.remove(request.actor, user_id.lower())
        return reply({"message": f"second factor of user '{user_id}' removed"})
