"""Counts the orders that were ever made, in the transaction that makes one."""

from pathlib import Path

from caudex import BadRequest, Event, Plugin, Transaction, for_subjects, hookimpl

COUNT = """
insert into caudex_event_recorded.made as m (entity, total) values ($1::text, 1)
on conflict (entity) do update set total = m.total + 1
returning total"""
MOST = 1_000_000


class EventRecordedPlugin(Plugin):
    """Has a table: a plugin in one file names the folder of its migrations."""

    name = "event_recorded"
    migrations = Path(__file__).with_name("event_recorded_sql")

    @hookimpl
    @for_subjects("shop.orders")
    async def event_recorded(self, tx: Transaction, event: Event) -> None:
        """Either both are written, the order and the count, or neither is."""
        if event.operation == "INSERT":
            total = await tx.execute(COUNT, event.subject)
            if int(total or 0) > MOST:
                raise BadRequest("the shop takes no more orders")
