"""Changes an order before it is written, or refuses it."""

from caudex import BadRequest, Change, Plugin, Transaction, for_subjects, hookimpl


class RecordWritingPlugin(Plugin):
    """No order without a title, none below zero."""

    name = "record_writing"

    @hookimpl
    @for_subjects("shop.orders")
    async def record_writing(self, tx: Transaction, change: Change) -> None:
        """Only `shop.orders`: every other entity keeps its one-statement write."""
        if change.action == "create":
            change.values.setdefault("title", "Untitled")
        if (change.values.get("total") or 0) < 0:
            raise BadRequest("total: an order costs at least nothing")
