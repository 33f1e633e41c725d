"""The order in which things get other names, where names go from one to another.

PostgreSQL, and every table that holds names, knows a name once. So what gets a name that another
one is about to give up has a name for a moment in between.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Move(msgspec.Struct, frozen=True):
    """One thing that gets another name; `is_last` is false for a name for a moment."""

    former: str
    name: str
    is_last: bool = True


def order_moves(renames: Mapping[str, str]) -> list[Move]:
    """Return the moves, one after the other, for the former names by the new ones."""
    given_up = set(renames.values())
    parked: list[Move] = []
    direct: list[Move] = []
    last: list[Move] = []
    for name, former in renames.items():
        if name not in given_up:
            direct.append(Move(former, name))
            continue
        moment = f"caudex_moving_{len(parked) + 1}"
        parked.append(Move(former, moment, is_last=False))
        last.append(Move(moment, name))
    return [*parked, *direct, *last]
