"""The code of the app. The server runs it as a process of its own."""

from datetime import datetime, timezone

from caudex_worker import Worker

worker = Worker()


@worker.rpc
async def queue(params, ctx):
    """Count the tickets that the caller may see and that are not solved, by priority."""
    page = await ctx.collection("tickets").query(
        {"state": {"$ne": "solved"}}, group_by=["priority"], aggregate={"tickets": {"$count": "*"}}
    )
    counts = {row["priority"]: row["tickets"] for row in page["data"]}
    return {priority: counts.get(priority, 0) for priority in ("urgent", "normal", "low")}


@worker.rpc
async def take(params, ctx):
    """Assign a ticket to the caller, unless another agent has it."""
    tickets = ctx.collection("tickets")
    changed = await tickets.update_where(
        {"id": params["ticket_id"], "assignee_id": None}, {"assignee_id": ctx.user_id}, max=1
    )
    ticket = await tickets.find_one({"id": params["ticket_id"]})
    if ticket is None:
        raise ValueError("no such ticket")
    if changed["updated"] == 0 and ticket["assignee_id"] != ctx.user_id:
        raise ValueError("another agent has this ticket")
    return ticket


@worker.job("escalate")
def escalate(payload, ctx):
    """Make tickets urgent whose time has passed. It has the same effect however often it runs."""
    now = payload.get("now") or datetime.now(timezone.utc).isoformat()
    late = {"state": "open", "priority": {"$ne": "urgent"}, "due": {"$lt": now}}
    changed = ctx.collection("tickets").update_where(late, {"priority": "urgent"}, max=1000)
    if changed["updated"]:
        worker.log.warn(f"{changed['updated']} tickets are late")
    return {"urgent": changed["updated"]}


worker.run()
