"""The code of the app. The server runs it as a process of its own."""

from datetime import date

from caudex_worker import Worker

worker = Worker()
OPEN = ("Lead", "Qualified", "Proposal")
CHANCE = {"Lead": 0.1, "Qualified": 0.3, "Proposal": 0.6, "Won": 1, "Lost": 0}


@worker.rpc
async def pipeline(params, ctx):
    """Sum up the deals that the caller may see, by stage."""
    page = await ctx.collection("deals").query(
        {}, group_by=["stage"], aggregate={"deals": {"$count": "*"}, "value": {"$sum": "value"}}
    )
    stages = {row["stage"]: row for row in page["data"]}
    expected = sum(CHANCE[stage] * (row["value"] or 0) for stage, row in stages.items())
    return {
        "stages": [
            {
                "stage": stage,
                "deals": stages.get(stage, {}).get("deals", 0),
                "value": stages.get(stage, {}).get("value") or 0,
            }
            for stage in CHANCE
        ],
        "expected": expected,
    }


@worker.rpc
async def follow_up(params, ctx):
    """Put a task on a deal, in the name of the caller."""
    deal = await ctx.collection("deals").find_one({"id": params["deal_id"]})
    if deal is None:
        raise ValueError("no such deal")
    task = {"type": "Task", "subject": f"Follow up: {deal['title']}", "deal_id": deal["id"]}
    if params.get("due"):
        task["due"] = params["due"]
    return await ctx.collection("activities").insert(task)


@worker.job("remind")
def remind(payload, ctx):
    """Put a task on each open deal whose close date has passed. It may run twice: a deal that has
    an open task of this kind gets no second one."""
    today = payload.get("today") or date.today().isoformat()
    deals = ctx.collection("deals").find(
        {"close_date": {"$lt": today}, "stage": {"$in": list(OPEN)}}
    )
    made = 0
    for number, deal in enumerate(deals, 1):
        if ctx.cancelled:
            break
        task = {"type": "Task", "subject": f"Overdue: {deal['title']}", "deal_id": deal["id"]}
        activities = ctx.collection("activities")
        if activities.find_one({**task, "done": False}) is None:
            activities.insert({**task, "due": today})
            made += 1
        ctx.progress(number / len(deals))
    worker.log.info(f"{len(deals)} deals are overdue, {made} new tasks")
    return {"overdue": len(deals), "tasks": made}


worker.run()
