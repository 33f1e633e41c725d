"""The worker of the app that jobs and calls are measured with; deployed as its `worker.py`."""

import sys
import time

from caudex_worker import Worker

worker = Worker()
begun_at = {}


@worker.on_start
async def begin():
    begun_at.update(at=time.time(), cpu=time.process_time())


@worker.rpc
async def begun(params, ctx):
    return begun_at


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
