"""Tokens of links, and whether who made a link is still there."""

from __future__ import annotations

from typing import Final

import msgspec

from kernel.public import Actor, Identity, TokenSigner, check_link_maker

from .models import ExportLink, LinkClaims

_decode_claims: Final = msgspec.json.Decoder(LinkClaims).decode


class LinkSigner:
    """Signs links. A token names its link alone: what that shows, and until when, is stored."""

    def __init__(self, key: bytes, identity: Identity) -> None:
        self._signer = TokenSigner(key)
        self._identity = identity

    def sign(self, link: ExportLink) -> str:
        """Return the token of a link, the same each time."""
        return self._signer.sign(LinkClaims(app=link.app_id, export=link.id))

    def is_for(self, token: str, app_id: str, export_id: str) -> bool:
        """Whether a token was signed for a link."""
        try:
            claims = _decode_claims(self._signer.open(token))
        except (ValueError, msgspec.MsgspecError):
            return False
        return (claims.app, claims.export) == (app_id, export_id)

    async def check_maker(self, maker: Actor, app_id: str) -> None:
        """Require that the account and the key of the maker are good. Raises NotFound."""
        await check_link_maker(self._identity, maker, app_id)
