"""Links to files: signed, for a while, and good as long as who made them may read the file."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from kernel.public import (
    MAX_TOKEN,
    Actor,
    BadRequest,
    Forbidden,
    Identity,
    NotFound,
    TokenSigner,
    check_link_maker,
)
from plugins.files.models import LinkClaims, StoredFile

from .reading import FileReading

MAX_SECONDS: Final = 7 * 86_400
BAD_LINK: Final = "the link is not valid, or has ended"

_decode_claims = msgspec.json.Decoder(LinkClaims).decode


class FileLinks:
    """Makes and opens links."""

    def __init__(self, key: bytes, identity: Identity, reading: FileReading) -> None:
        self._signer = TokenSigner(key)
        self._identity = identity
        self._reading = reading

    def sign(self, actor: Actor, app_id: str, file: StoredFile, seconds: int) -> str:
        """Make the token of a link. Raises BadRequest."""
        if seconds <= 0:
            raise BadRequest("seconds must be a whole number of at least 1")
        if actor.user_id is None:
            raise BadRequest("a link is made by a user, whose rights it has")
        claims = LinkClaims(
            app=app_id,
            file=file.id,
            user=actor.user_id,
            name=actor.username,
            exp=int(time.time()) + min(seconds, MAX_SECONDS),
            limits=actor.limits,
        )
        token = self._signer.sign(claims)
        if len(token) > MAX_TOKEN:
            raise BadRequest("the permissions of the API key are too many for a link")
        return token

    async def open(self, token: str, request: Actor, app_id: str, file_id: str) -> StoredFile:
        """Return the file of a link. Raises Forbidden; `request` says where it comes from."""
        try:
            claims = _decode_claims(self._signer.open(token))
        except (ValueError, msgspec.MsgspecError):
            raise Forbidden(BAD_LINK) from None
        names_file = (claims.app, claims.file) == (app_id, file_id.lower())
        if not names_file or claims.exp <= time.time():
            raise Forbidden(BAD_LINK)
        actor = Actor(
            user_id=claims.user,
            username=claims.name,
            request_id=request.request_id,
            address=request.address,
            limits=claims.limits,
        )
        try:
            await check_link_maker(self._identity, actor, app_id)
            return await self._reading.find_readable(actor, app_id, file_id)
        except NotFound:
            raise Forbidden("the link has ended with the right of who made it") from None
