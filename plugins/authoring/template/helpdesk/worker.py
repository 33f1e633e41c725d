"""The code of the app. The server runs it as a process of its own.

`ctx.collection` has the rights of the caller: a customer finds own tickets only. Customers have no
right on comments. What they see and write of them goes through the methods here, which use the
rights of the app (`worker.collection`) once the caller was found to see the ticket.
"""

from datetime import datetime, timedelta, timezone

from caudex_worker import CollectionError, Worker

worker = Worker()

STALE_DAYS = 14
LONGEST = 1000
"""Comments of a ticket that are shown, and tickets that one run closes."""
CUSTOMER_FIELDS = ("subject", "description", "category", "attachment")


@worker.rpc
async def open_ticket(params, ctx):
    """Open a ticket of the caller."""
    values = {name: params[name] for name in CUSTOMER_FIELDS if params.get(name) is not None}
    ticket = await ctx.collection("tickets").insert(values)
    return await worker.collection("tickets").update(ticket["id"], requester_id=ctx.user_id)


@worker.rpc
async def conversation(params, ctx):
    """Return the comments of a ticket, oldest first; internal ones are for agents only."""
    ticket = await find_ticket(params, ctx)
    where = {"ticket_id": ticket["id"]}
    if not await is_agent(ctx):
        where["internal"] = False
    page = await worker.collection("comments").query(
        where, expand=["author_id"], order_by="created_at", order="asc", limit=LONGEST
    )
    return page["data"]


@worker.rpc
async def comment(params, ctx):
    """Add a comment to a ticket, and set the status that follows from it.

    After an agent's answer the ticket waits for the customer, whose comment opens it again.
    """
    ticket = await find_ticket(params, ctx)
    text = params.get("text", "").strip()
    if not text:
        raise ValueError("write a text")
    agent = await is_agent(ctx)
    internal = agent and params.get("internal") is True
    status = "waiting" if agent else "open"
    if internal:
        status = ticket["status"]
    elif params.get("close") is True:
        status = "closed"
    data = {"ticket_id": ticket["id"], "text": text, "internal": internal, "author_id": ctx.user_id}
    change = {"op": "update", "entity": "tickets", "id": ticket["id"]}
    rights = ctx if agent else worker
    await rights.collection("tickets").batch(
        [
            {"op": "create", "entity": "comments", "data": data},
            {**change, "data": {"status": status}},
        ]
    )
    return {"status": status}


@worker.job("close_stale")
def close_stale(payload, ctx):
    """Close the tickets that have waited for their customers for `days`."""
    days = payload.get("days", STALE_DAYS)
    limit = datetime.now(timezone.utc) - timedelta(days=days)
    tickets = ctx.collection("tickets")
    where = {"status": "waiting", "updated_at": {"$lt": limit.isoformat()}}
    stale = tickets.query(where, fields=["id"], limit=LONGEST)["data"]
    text = f"Closed, as there was no answer for {days} days. A comment opens it again."
    for number, ticket in enumerate(stale, start=1):
        if ctx.cancelled:
            return {"closed": number - 1}
        data = {"ticket_id": ticket["id"], "text": text}
        change = {"op": "update", "entity": "tickets", "id": ticket["id"]}
        # Both or neither: a second run of this job finds only what the first one left.
        tickets.batch(
            [
                {"op": "create", "entity": "comments", "data": data},
                {**change, "data": {"status": "closed"}},
            ]
        )
        ctx.progress(number / len(stale))
    worker.log.info(f"closed {len(stale)} stale tickets")
    return {"closed": len(stale)}


async def find_ticket(params, ctx):
    """Return a ticket that the caller may see."""
    ticket = await ctx.collection("tickets").find_one({"id": params["ticket"]})
    if ticket is None:
        raise ValueError("there is no such ticket")
    return ticket


async def is_agent(ctx):
    """Whether the caller may read comments, as agents may."""
    try:
        await ctx.collection("comments").query({}, fields=["id"], limit=1, total=False)
    except CollectionError as error:
        if error.status != 403:
            raise
        return False
    return True


worker.run()
