"""The database is away for a moment: what SDK and prelude repeat, and how handlers end by it."""

import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from kernel.testing import Postgres, running_server
from plugins.workers.releases.folders import SDK
from tests.plugins.workers.support import QUICK, deployed, rpc
from tests.plugins.workers.test_sdk import CALLER, HELLO, Talk

PYTHON = """
from caudex_worker import Unavailable, Worker
worker = Worker()

@worker.rpc
def read(params, ctx): return ctx.collection("notes").find()

@worker.job
async def work(payload, ctx):
    notes = ctx.collection("notes")
    if payload == "raise":
        raise Unavailable("the mail server is away")
    if payload == "find":
        return await notes.find({})
    try:
        return await (notes.once("k") if payload == "once" else notes).insert({"n": 1})
    except Unavailable:
        if payload == "catch":
            return "caught"
        raise

worker.run()
"""
JAVASCRIPT = """
serve({
  rpc: { read: (params, caller, ctx) => ctx.collection("notes").find({}) },
  onJob: async (payload, caller, ctx) => {
    const notes = ctx.collection("notes");
    if (payload === "raise") throw new serve.Unavailable("the mail server is away");
    if (payload === "find") return notes.find({});
    try {
      return await (payload === "once" ? notes.once("k") : notes).insert({ n: 1 });
    } catch (error) {
      if (payload === "catch" && error instanceof serve.Unavailable) return "caught";
      throw error;
    }
  },
});
"""
AWAY = {"error": "the database is not available", "unavailable": "unchanged"}
UNKNOWN = {"error": "the change may have been made", "unavailable": "unknown"}


@pytest.fixture(params=["python", "javascript"])
def talk(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Talk]:
    if request.param == "python":
        command = [sys.executable, "worker.py"]
        (tmp_path / "worker.py").write_text(PYTHON)
    else:
        if not (node := shutil.which("node")):
            pytest.skip("no node on this machine")
        shutil.copy(SDK / "prelude.js", tmp_path / "prelude.cjs")
        command = [node, "--require", str(tmp_path / "prelude.cjs"), "index.js"]
        (tmp_path / "index.js").write_text(JAVASCRIPT)
    talk = Talk(command, tmp_path)
    talk.say(**HELLO)
    talk.hear("discover")
    yield talk
    talk.close()


def answer(talk: Talk, **more: object) -> dict[str, object]:
    """Answer the next operation."""
    asked = talk.hear("collection_op")
    talk.say(type="collection_op_result", id=asked["id"], **more)
    return asked


def start(talk: Talk, payload: str) -> Callable[[], dict[str, object]]:
    talk.say(type="job", id="j1", payload=payload, caller=None)
    return lambda: talk.hear("job_result")


def test_a_job_repeats_a_read_whatever_became_of_it(talk: Talk):
    result = start(talk, "find")
    for gone in (AWAY, UNKNOWN):
        assert answer(talk, **gone)["op"] == "find"
    answer(talk, result=[1])
    assert result() == {"type": "job_result", "id": "j1", "result": [1]}


def test_a_job_repeats_a_write_that_had_no_effect(talk: Talk):
    result = start(talk, "insert")
    answer(talk, **AWAY)
    assert answer(talk, result={"id": "1"})["data"] == {"n": 1}
    assert result()["result"] == {"id": "1"}


def test_a_job_repeats_a_write_with_a_key(talk: Talk):
    result = start(talk, "once")
    assert answer(talk, **UNKNOWN)["key"] == "k"
    assert answer(talk, result={"id": "1"})["key"] == "k"
    assert result()["result"] == {"id": "1"}


def test_a_write_that_may_have_had_an_effect_is_not_repeated(talk: Talk):
    result = start(talk, "insert")
    answer(talk, **UNKNOWN)
    assert result() == {
        "type": "job_result", "id": "j1", "error": UNKNOWN["error"], "unavailable": True,
    }  # fmt: skip


def test_a_handler_that_catches_it_has_succeeded(talk: Talk):
    result = start(talk, "catch")
    answer(talk, **UNKNOWN)
    assert result()["result"] == "caught"


def test_a_handler_may_say_by_itself_that_something_is_away(talk: Talk):
    ended = start(talk, "raise")()
    assert (ended["error"], ended["unavailable"]) == ("the mail server is away", True)


def test_a_job_whose_time_is_over_repeats_nothing(talk: Talk):
    result = start(talk, "find")
    talk.say(type="job_cancel", id="j1")
    answer(talk, **AWAY)
    assert result()["unavailable"] is True


def test_a_call_repeats_nothing(talk: Talk):
    talk.say(type="rpc", id="r1", method="read", params={}, caller=CALLER)
    answer(talk, **AWAY)
    ended = talk.hear("rpc_response")
    assert (ended["error"], ended["unavailable"]) == (AWAY["error"], True)


@pytest.mark.slow
def test_a_call_that_ends_by_it_is_503(postgres: Postgres):
    code = """
from caudex_worker import Unavailable, Worker
worker = Worker()
@worker.rpc
def later(params, ctx): raise Unavailable("the mail server is away")
worker.run()
"""
    with running_server(postgres, {"plugins": {"workers": QUICK}}) as server:
        answer = rpc(server.admin, deployed(server, {"worker.py": code}), "later")
        assert (answer.status_code, answer.json()) == (503, {"error": "the mail server is away"})
        assert "retry-after" not in answer.headers
