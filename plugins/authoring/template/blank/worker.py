"""The code of the app. The server runs it as a process of its own."""

from caudex_worker import Worker

worker = Worker()


@worker.rpc
async def summary(params, ctx):
    """Count the items that the caller may see."""
    items = ctx.collection("items")
    total = await items.query({}, limit=1)
    open_items = await items.query({"done": False}, limit=1)
    return {"items": total["total"], "open": open_items["total"]}


@worker.job("clean_up")
def clean_up(payload, ctx):
    """Delete the items that are done."""
    deleted = ctx.collection("items").delete_where({"done": True}, max=1000)
    worker.log.info(f"deleted {deleted['deleted']} items")
    return deleted


worker.run()
