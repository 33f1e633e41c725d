"""The code of the app. The server runs it as a process of its own."""

from caudex_worker import Worker

worker = Worker()

STAGES = {
    "lead": 0.1,
    "qualified": 0.3,
    "proposal": 0.5,
    "negotiation": 0.7,
    "won": 1.0,
    "lost": 0.0,
}
"""The stages of a deal, each with the share of deals that are won from there."""
CLOSED = ("won", "lost")
TOTALS = {"count": {"$count": "*"}, "value": {"$sum": "value"}}


@worker.rpc
async def pipeline(params, ctx):
    """Return number and value of the deals in each stage, of those that the caller may see."""
    groups = await ctx.collection("deals").query({}, group_by=["stage"], aggregate=TOTALS)
    by_stage = {group["stage"]: group for group in groups["data"]}
    stages = []
    for stage in STAGES:
        group = by_stage.get(stage, {"count": 0, "value": 0})
        stages.append({"stage": stage, "count": group["count"], "value": group["value"]})
    open_stages = [row for row in stages if row["stage"] not in CLOSED]
    return {
        "stages": stages,
        "open": sum(row["value"] for row in open_stages),
        "forecast": sum(row["value"] * STAGES[row["stage"]] for row in open_stages),
        "won": next(row["value"] for row in stages if row["stage"] == "won"),
    }


@worker.job("report")
def report(payload, ctx):
    """Write a report: for each stage the totals and the largest deals."""
    deals = ctx.collection("deals")
    stages = []
    for number, stage in enumerate(STAGES, start=1):
        totals = deals.query({"stage": stage}, aggregate=TOTALS)["data"][0]
        page = deals.query(
            {"stage": stage}, fields=["title", "value"], order_by="value", order="desc", limit=3
        )
        largest = [{"title": deal["title"], "value": deal["value"]} for deal in page["data"]]
        stages.append(
            {
                "stage": stage,
                "count": totals["count"],
                "value": totals["value"] or 0,
                "largest": largest,
            }
        )
        ctx.progress(number / len(STAGES))
    values = {row["stage"]: row["value"] for row in stages}
    # A job may run twice. With a key, the second run writes no second report.
    reports = ctx.collection("reports").once(f"report-{ctx.request_id}")
    record = reports.insert(
        {
            "title": payload.get("title", "Report"),
            "stages": stages,
            "open_value": sum(values[stage] for stage in STAGES if stage not in CLOSED),
            "won_value": values["won"],
        }
    )
    worker.log.info(f"wrote the report {record['id']}")
    return {"report": record["id"]}


worker.run()
