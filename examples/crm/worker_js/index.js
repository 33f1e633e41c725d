// The same code as worker/worker.py, in JavaScript: under bun where it is, else under node.
const { createHmac } = require("node:crypto");

const CLOSED = ["Closed Won", "Closed Lost"];
const sum = (deals) => deals.reduce((total, deal) => total + (deal.value ?? 0), 0);
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

serve({
  rpc: {
    async pipeline(params, caller, ctx) {
      const deals = await ctx.collection("deals").find({});
      const chosen = deals.filter((deal) => params.closed || !CLOSED.includes(deal.stage));
      return { deals: chosen.length, value: sum(chosen) };
    },

    async follow_up(params, caller, ctx) {
      const deal = await ctx.collection("deals").findOne({ id: params.deal_id });
      if (!deal) throw new Error("no such deal");
      log.info(`${caller.username} follows up '${deal.title}'`);
      const task = { type: "Task", subject: `Follow up: ${deal.title}`, deal_id: deal.id };
      return ctx.collection("activities").insert({ ...task, done: false });
    },
  },

  async onJob(payload, caller, ctx) {
    if (payload.type !== "report") throw new Error(`unknown job type: ${payload.type}`);
    const rows = [];
    for (const stage of payload.stages) {
      const deals = await ctx.collection("deals").find({ stage });
      rows.push({ stage, deals: deals.length, value: sum(deals) });
      console.log(`${stage}: ${deals.length} deals`);
      ctx.progress(rows.length / payload.stages.length);
      await sleep(payload.pause ?? 0);
    }
    const text = JSON.stringify(rows);
    const signature = createHmac("sha256", process.env.REPORT_KEY).update(text).digest("hex");
    return { rows, signature };
  },
});
