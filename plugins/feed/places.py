"""Where a stream goes on: a position of the trail, and how far a change was sent.

Mostly it is a position alone. Where one change is an event of several subscriptions, all but the
last of these events have the position before the change, and say which of them is behind the
client.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from kernel.public import BadRequest

_PARTS: Final = re.compile(r"([A-Za-z0-9_-]+)(?:\.([0-9]{1,2})\.([0-9a-f]{8})\.([0-9]{1,19}))?")


class Place(msgspec.Struct, frozen=True):
    """A position, and of the change with the id `change` behind it what the client has.

    `sent` is the number of subscriptions that are done with it, `subscriptions` says which list of
    subscriptions that counts in.
    """

    position: str
    sent: int = 0
    subscriptions: str = ""
    change: int = 0

    def __str__(self) -> str:
        if not self.sent:
            return self.position
        return f"{self.position}.{self.sent}.{self.subscriptions}.{self.change}"


def read_place(text: str, name: str) -> Place:
    """Read what a client sends back. Raises BadRequest that names the parameter."""
    match = _PARTS.fullmatch(text)
    if match is None:
        raise BadRequest(f"{name} is no position of a feed")
    position, sent, subscriptions, change = match.groups()
    if sent is None:
        return Place(position)
    return Place(position, int(sent), subscriptions, int(change))
