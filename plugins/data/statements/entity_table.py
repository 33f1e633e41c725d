"""The statements of one entity: single records, lists in `reads`, and writes in `writes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from kernel.public import Entity
from plugins.data.columns.links import Link

from .entity import EntityStatements
from .lists import ListStatements
from .write_statements import WriteStatements


class Table(EntityStatements):
    """A table as its callers see it: the fields in `hidden` do not exist for them."""

    def __init__(
        self,
        entity: Entity,
        links: Mapping[str, Link] | None = None,
        hidden: frozenset[str] = frozenset(),
        *,
        full: Self | None = None,
        has_times: bool = True,
        files: bytes | None = None,
    ) -> None:
        super().__init__(entity, links, hidden, full=full, has_times=has_times, files=files)
        self.reads = ListStatements(self)
        self.writes = WriteStatements(self)
