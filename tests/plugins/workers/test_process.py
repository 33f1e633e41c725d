"""One child process, on both event loops: asyncio's own in tests, uvloop's in production."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import uvloop
from structlog.testing import capture_logs

from kernel.public import Unavailable
from plugins.workers.child import pipes, process
from plugins.workers.child.process import Child, Program
from plugins.workers.child.protocol import BatchedJob, JobCancel, Shutdown, encode_message
from tests.waiting import until


class Heard:
    def __init__(self):
        self.lines: list[bytes] = []
        self.noise: list[tuple[str, str]] = []
        self.unreadable: list[list[str]] = []
        self.gone = 0

    def on_line(self, line: bytes) -> None:
        self.lines.append(line)

    def on_noise(self, level: str, text: str) -> None:
        self.noise.append((level, text))

    def on_unreadable(self, ids: list[str], why: str) -> None:
        self.unreadable.append(ids)

    def on_gone(self, ending: str) -> None:
        self.gone += 1


Run = Callable[[Callable[[Heard], Awaitable[object]]], Heard]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def go(work: Callable[[Heard], Awaitable[object]]) -> Heard:
        heard = Heard()
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(work(heard), 30))
        return heard

    return go


def spawn(heard: Heard, code: str) -> Awaitable[Child]:
    argv = [sys.executable, "-I", "-S", "-c", code]
    program = Program(argv=argv, environment={"PATH": os.defpath}, folder=Path("/"))
    return Child.spawn(heard, program)  # type: ignore[arg-type]


def test_lines_come_and_go(run: Run):
    async def work(heard: Heard) -> None:
        child = await spawn(
            heard,
            "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)\n"
            "print('bye', file=sys.stderr)",
        )
        child.input.write(b"one\n")
        child.input.write(b"two\n")
        child.input.close()
        assert await child.wait_gone(60)
        assert child.status == 0

    heard = run(work)
    assert heard.lines == [b"got one", b"got two"]
    assert heard.noise == [("stderr", "bye")]
    assert heard.gone == 1


def test_jobs_of_a_turn_are_one_message_in_its_place(run: Run):
    def job(name: str) -> BatchedJob:
        return BatchedJob(id=name, payload=msgspec.Raw(b"1"), caller=None)

    async def work(heard: Heard) -> None:
        child = await spawn(heard, "import sys\nfor line in sys.stdin: print(line, end='')")
        for name in "abc":
            child.input.write_job(job(name))
        child.input.write(encode_message(JobCancel(id="b")))
        child.input.write_job(job("d"))
        child.input.write(encode_message(Shutdown()))
        child.input.write_job(job("e"))
        child.input.write_job(job("f"))
        await asyncio.sleep(0)
        child.input.write_job(job("g"))
        child.input.close()
        assert await child.wait_gone(60)
        child.input.write_job(job("too late"))

    said = [json.loads(line) for line in run(work).lines]
    heard = [[one["id"] for one in m.get("jobs", [])] or m.get("id") or m["type"] for m in said]
    assert heard == [["a", "b", "c"], "b", "d", "shutdown", ["e", "f"], "g"]
    assert said[-1] == {"type": "job", "id": "g", "payload": 1, "caller": None}


def test_what_is_said_last_is_heard_before_the_end(run: Run):
    async def work(heard: Heard) -> None:
        code = (
            "import os\nos.write(1, b'x' * 300000 + b'\\nlast')\nos.write(2, b'err')\nos._exit(7)"
        )
        child = await spawn(heard, code)
        assert await child.wait_gone(60)
        assert child.status == 7

    heard = run(work)
    assert [len(line) for line in heard.lines] == [300_000, 4]
    assert heard.noise == [("stderr", "err")]


def test_a_program_that_is_not_there_raises(run: Run):
    async def work(heard: Heard) -> None:
        program = Program(argv=["/nonexistent"], environment={}, folder=Path("/"))
        with pytest.raises(OSError, match="No such file"):
            await Child.spawn(heard, program)  # type: ignore[arg-type]

    run(work)


def test_the_launcher_has_none_of_the_variables_that_apps_choose(run: Run):
    """It runs with our rights, and libc loads code that GCONV_PATH and the like name."""
    code = (
        "import json, os\nprint(json.dumps(dict(os.environ)))\n"
        "print(open(int(os.environ['CAUDEX_VARIABLES_FILE'])).read())"
    )
    chosen = {"LC_ALL": "xx_XX.EVIL", "LOCPATH": "/tmp/evil", "TOKEN": "é" * 60_000}

    async def work(heard: Heard) -> None:
        program = Program(
            argv=[sys.executable, "-I", "-S", "-c", code],
            environment={"PATH": os.defpath},
            folder=Path("/"),
            variables=chosen,
        )
        child = await Child.spawn(heard, program)  # type: ignore[arg-type]
        assert await child.wait_gone(60)

    run(work)  # the first one opens what stays open
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    found, handed_over = map(json.loads, run(work).lines)
    assert not chosen.keys() & found.keys()
    assert handed_over == chosen
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= before


def test_it_leads_a_group_of_its_own(run: Run):
    async def work(heard: Heard) -> None:
        child = await spawn(heard, "import os\nprint(os.getpgid(0) == os.getpid())")
        assert await child.wait_gone(60)

    assert run(work).lines == [b"True"]


def test_a_grandchild_that_keeps_the_pipes_does_not_keep_us(run: Run):
    async def work(heard: Heard) -> None:
        code = (
            "import os, time\nif os.fork() == 0:\n"
            "    os.setsid()\n    time.sleep(60)\n    os._exit(0)\n"
            "print('parent', flush=True)"
        )
        child = await spawn(heard, code)
        assert await child.wait_gone(30)

    heard = run(work)
    assert heard.lines == [b"parent"]
    assert heard.gone == 1


def test_a_full_pipe_makes_writers_wait_and_then_give_up(run: Run, monkeypatch):
    monkeypatch.setattr(pipes.InputPipe.wait_ready, "__defaults__", (0.3,))

    async def work(heard: Heard) -> None:
        child = await spawn(heard, "import time\ntime.sleep(60)")
        child.input.write(b"x" * 3_000_000 + b"\n")
        await asyncio.sleep(0.1)
        with pytest.raises(Unavailable, match="does not read"):
            await child.input.wait_ready()
        child.send_signal(9)
        assert await child.wait_gone(60)

    run(work)


def test_who_never_reads_is_killed(run: Run, monkeypatch):
    monkeypatch.setattr(pipes, "MAX_UNREAD", 1_000_000)

    async def work(heard: Heard) -> None:
        child = await spawn(heard, "import time\ntime.sleep(60)")
        child.input.write(b"x" * 3_000_000)
        assert await child.wait_gone(60)
        assert child.status == -9
        child.input.write(b"too late")

    heard = run(work)
    assert heard.noise == [("system", "it does not read its input: killed")]


@pytest.mark.slow
def test_a_flood_takes_no_more_than_its_share(run: Run):
    async def work(heard: Heard) -> None:
        child = await spawn(heard, "import os\nwhile True: os.write(1, b'y\\n' * 30000)")
        late = []
        # By the time of this very thread, which nothing else that runs here stretches.
        for _ in range(60):
            asked = time.thread_time()
            await asyncio.sleep(0.01)
            late.append(time.thread_time() - asked)
        spent, since = time.thread_time(), time.monotonic()
        await asyncio.sleep(2)
        share = (time.thread_time() - spent) / (time.monotonic() - since)
        child.send_signal(9)
        assert await child.wait_gone(60)
        assert share < 0.7
        assert sorted(late)[len(late) // 2] < 0.03

    assert run(work).lines


def test_a_held_child_is_read_again_when_it_is_released(run: Run):
    async def work(heard: Heard) -> None:
        code = "import time\nwhile True:\n print('x', flush=True)\n time.sleep(0.01)"
        child = await spawn(heard, code)
        await until(lambda: heard.lines)
        child.output.hold("one")
        child.output.hold("two")
        await asyncio.sleep(0.1)
        count = len(heard.lines)
        child.output.release("one")
        child.output.release("never held")
        await asyncio.sleep(0.2)
        assert len(heard.lines) == count
        child.output.release("two")
        while len(heard.lines) == count:  # `run` waits for 30 seconds
            await asyncio.sleep(0.01)
        child.output.hold("again")
        child.send_signal(9)
        assert await child.wait_gone(60)

    run(work)


@pytest.mark.slow
def test_nothing_is_left_open(run: Run):
    async def work(heard: Heard) -> None:
        for _ in range(3):
            await (await spawn(heard, "pass")).wait_gone(60)
        await asyncio.sleep(0.1)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            await (await spawn(heard, "pass")).wait_gone(60)
        await asyncio.sleep(0.1)
        assert len(os.listdir("/proc/self/fd")) <= before

    run(work)


def written(output: bytes, *, then: str = "") -> str:
    """Code of a program that writes this at once."""
    return f"import os, time\nos.write(1, {output!r})\n{then}"


class Clumsy(Heard):
    """Fails at some lines."""

    def on_line(self, line: bytes) -> None:
        super().on_line(line)
        if line == b"bad":
            raise ValueError(line)


class Slow(Heard):
    """Takes its time for each line, and counts turns of the event loop."""

    def __init__(self, seconds: float = 0.01):
        super().__init__()
        self.turn = 0
        self.turns: list[int] = []
        self._seconds = seconds
        asyncio.get_running_loop().call_soon(self._count)

    def _count(self) -> None:
        self.turn += 1
        if not self.gone:
            asyncio.get_running_loop().call_soon(self._count)

    def on_line(self, line: bytes) -> None:
        super().on_line(line)
        self.turns.append(self.turn)
        time.sleep(self._seconds)  # as a search for secrets would


def test_a_line_that_no_one_can_handle_takes_no_other_with_it(run: Run):
    heard = Clumsy()

    async def work(_: Heard) -> None:
        child = await spawn(heard, written(b"one\nbad\ntwo\nbad\nbad"))
        assert await child.wait_gone(60)

    with capture_logs() as logged:
        run(work)
    assert [entry["log_level"] for entry in logged] == ["error"] * 3
    assert heard.lines == [b"one", b"bad", b"two", b"bad", b"bad"]
    assert heard.gone == 1


@pytest.mark.slow
def test_who_closes_its_output_is_ended_whatever_its_last_line_does(run: Run):
    async def work(_: Heard) -> None:
        # uvloop leaves it its pipes under other numbers as well, which the launcher closes.
        code = written(b"bad", then="os.close(1)\nos.closerange(3, 4096)\ntime.sleep(100)")
        child = await spawn(Clumsy(), code)
        try:
            assert await child.wait_gone(60)
            assert child.status == -9
        finally:
            child.send_signal(9)
            await child.wait_gone(60)

    with capture_logs():
        run(work)


@pytest.mark.slow
def test_time_that_ends_in_an_error_is_charged(run: Run):
    class Costly(Heard):
        def on_line(self, line: bytes) -> None:
            super().on_line(line)
            time.sleep(0.05)
            raise ValueError

    async def work(_: Heard) -> None:
        heard = Costly()
        child = await spawn(heard, "import os\nwhile True: os.write(1, b'y\\n')")
        await until(lambda: heard.lines)
        before, began = len(heard.lines), time.monotonic()
        await asyncio.sleep(2)
        passed = time.monotonic() - began
        child.send_signal(9)
        assert await child.wait_gone(60)
        assert len(heard.lines) - before < passed * 2 * pipes.SHARE / 0.05

    with capture_logs():
        run(work)


@pytest.mark.slow
def test_one_piece_of_many_slow_lines_leaves_others_their_turn(run: Run):
    lines = [b"%d" % number for number in range(40)]
    listeners: list[Slow] = []

    async def work(_: Heard) -> None:
        listeners.append(heard := Slow())
        child = await spawn(heard, written(b"\n".join(lines) + b"\n", then="time.sleep(100)"))
        while len(heard.lines) < len(lines):
            await asyncio.sleep(0.01)
        child.send_signal(9)
        assert await child.wait_gone(60)

    run(work)
    [heard] = listeners
    assert heard.lines == lines
    # Three lines of 10 ms fit into a turn, and the worker waits for many turns then.
    assert max(map(heard.turns.count, heard.turns)) <= 3
    assert heard.turns[-1] - heard.turns[0] > len(lines)


def test_what_waits_to_be_heard_is_heard_before_the_end(run: Run, monkeypatch):
    monkeypatch.setattr(process, "DRAIN_SECONDS", 15)
    lines = [b"%d" % number for number in range(10)]
    listeners: list[Slow] = []

    async def work(_: Heard) -> None:
        listeners.append(heard := Slow())
        child = await spawn(heard, written(b"\n".join(lines)))
        assert await child.wait_gone(60)

    run(work)
    [heard] = listeners
    assert heard.lines == lines
    assert heard.gone == 1


@pytest.mark.slow
def test_an_end_does_not_wait_for_long_until_all_is_heard(run: Run):
    async def work(_: Heard) -> None:
        heard = Slow()
        child = await spawn(heard, written(b"x\n" * 20_000))
        assert await child.wait_gone(60)  # of 800
        count = len(heard.lines)
        assert count < 20_000
        await asyncio.sleep(0.2)
        assert len(heard.lines) == count

    run(work)


@pytest.mark.slow
def test_nothing_is_read_while_much_waits_to_be_heard(run: Run, tmp_path: Path):
    """Or what is read would grow without a bound."""
    count = tmp_path / "count"
    code = (
        f"import os\nfile = os.open({str(count)!r}, os.O_RDWR | os.O_CREAT)\nnumber = 0\n"
        "while True:\n number += 1\n os.write(1, b'x' * 9999 + b'\\n')\n"
        " os.pwrite(file, b'%d' % number, 0)"
    )

    async def work(_: Heard) -> None:
        heard = Slow(0.03)
        child = await spawn(heard, code)
        while len(heard.lines) < 30:
            await asyncio.sleep(0.01)
        assert int(count.read_text()) * 10_000 < 20_000_000
        child.send_signal(9)
        assert await child.wait_gone(60)

    run(work)


def test_who_is_held_is_not_heard_before_it_is_released(run: Run):
    """However much of it was read already."""

    class Holding(Heard):
        def on_line(self, line: bytes) -> None:
            super().on_line(line)
            if line == b"hold":
                child.output.hold("a while")

    async def work(_: Heard) -> None:
        nonlocal child
        heard = Holding()
        code = written(b"one\nhold\ntwo\nthree\n", then="time.sleep(100)")
        child = await spawn(heard, f"input()\n{code}")
        child.input.write(b"now that there is one to hold\n")
        while len(heard.lines) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert heard.lines == [b"one", b"hold"]
        child.output.release("a while")
        while len(heard.lines) < 4:
            await asyncio.sleep(0.01)
        assert heard.lines == [b"one", b"hold", b"two", b"three"]
        child.send_signal(9)
        assert await child.wait_gone(60)

    child: Child
    run(work)
