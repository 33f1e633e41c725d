"""The CRM's own code: two methods and a job, run by the server as a process of its own."""

import hashlib
import hmac
import json
import os
import time

from caudex_worker import Worker

worker = Worker()
CLOSED = ("Closed Won", "Closed Lost")


@worker.rpc
async def pipeline(params, ctx):
    """Sum up the deals that the caller may see."""
    deals = await ctx.collection("deals").find({})
    chosen = [deal for deal in deals if params.get("closed") or deal["stage"] not in CLOSED]
    return {"deals": len(chosen), "value": sum(deal["value"] or 0 for deal in chosen)}


@worker.rpc
def follow_up(params, ctx):
    """Put a task on a deal, in the name of the caller."""
    deal = ctx.collection("deals").find_one({"id": params["deal_id"]})
    if deal is None:
        raise ValueError("no such deal")
    task = {"type": "Task", "subject": f"Follow up: {deal['title']}", "deal_id": deal["id"]}
    worker.log.info(f"{ctx.username} follows up {deal['title']!r}")
    return ctx.collection("activities").insert({**task, "done": False})


@worker.job("report")
def report(payload, ctx):
    """Make a report in stages, report the progress, and sign it with a secret."""
    rows = []
    for number, stage in enumerate(payload["stages"], 1):
        deals = ctx.collection("deals").find({"stage": stage})
        rows.append(
            {"stage": stage, "deals": len(deals), "value": sum(d["value"] or 0 for d in deals)}
        )
        print(f"{stage}: {len(deals)} deals")
        ctx.progress(number / len(payload["stages"]))
        time.sleep(payload.get("pause", 0))
    text = json.dumps(rows, sort_keys=True).encode()
    signature = hmac.new(os.environ["REPORT_KEY"].encode(), text, hashlib.sha256)
    return {"rows": rows, "signature": signature.hexdigest()}


worker.run()
