"""Whether plugins take part in the writes of an entity: no other module asks this of the bus."""

from __future__ import annotations

from collections.abc import Iterable

from kernel.public import HookBus, hookspecs
from plugins.data.statements.entity_table import Table


class Participants:
    """Knows which hooks of writes have listeners.

    `record_writing` and `event_recorded` run within the transaction of a write. `event_committed`
    is called after its commit; only where an observer wants the former record does that need a
    transaction.
    """

    def __init__(self, bus: HookBus) -> None:
        self._bus = bus

    def need_transaction(self, table: Table) -> bool:
        """Whether a write must be part of a transaction."""
        subject = table.entity.subject
        return self._join_writes(subject) or self._want_old_records(subject)

    def are_notified(self, table: Table) -> bool:
        """Whether a plugin wants to know of committed writes."""
        return bool(self._bus.listeners(hookspecs.event_committed, table.entity.subject))

    def need_each_record(self, table: Table) -> bool:
        """Whether a plugin needs the records of each write, so that several are one by one."""
        return self.need_transaction(table) or self.are_notified(table)

    def find_joined_subject(self, subjects: Iterable[str]) -> str:
        """Return the first subject whose writes hooks join, or an empty text."""
        for subject in subjects:
            if self._join_writes(subject):
                return subject
        return ""

    def _join_writes(self, subject: str) -> bool:
        listeners = self._bus.listeners
        return bool(
            listeners(hookspecs.record_writing, subject)
            or listeners(hookspecs.event_recorded, subject)
        )

    def _want_old_records(self, subject: str) -> bool:
        observers = self._bus.listeners(hookspecs.event_committed, subject)
        return bool(observers) and any(observer.subjects.wants_old for observer in observers)
