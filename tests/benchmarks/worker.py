"""The worker of the app that jobs and calls are measured with; deployed as its `worker.py`."""

import sys

from caudex_worker import Worker

worker = Worker()


@worker.rpc
async def echo(params, ctx):
    return params


@worker.rpc
async def say(params, ctx):
    worker.log.info(params["text"])


@worker.job("nothing")
async def nothing(payload, ctx):
    return {"n": payload["n"]}


if __name__ == "__main__":
    sys.exit(worker.run())
