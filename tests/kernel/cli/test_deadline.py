"""A process ends at its deadline whatever its threads do, with the right status and its log."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import os, signal, sys, threading, time
from kernel.cli import deadline, main as cli
from kernel.cli.deadline import ProcessDeadline, end_process
from kernel.config import log as logging
from kernel.config.settings import LogConfig

deadline.END_SECONDS = deadline.FORCED_SECONDS = deadline.LEFT_SECONDS = 0.2

def spin():
    while True:
        pass

def start():
    threading.Thread(target=spin, name="spinning").start()

logging.configure(LogConfig(), sys.stdout)
"""


def ended(body: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, which has to end by itself."""
    return subprocess.run(
        [sys.executable, "-c", HEAD + body], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("status", [0, 7])
def test_threads_that_nothing_waits_for_end_with_the_process(status: int) -> None:
    done = ended(f"start()\nend_process({status})")
    assert done.returncode == status, done.stderr
    assert "the process ends without what still runs" in done.stdout
    assert "spinning at <string>:" in done.stdout


def test_a_process_without_such_threads_ends_by_itself() -> None:
    done = ended("deadline.LEFT_SECONDS = 100\nend_process(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.parametrize(
    ("command", "status"),
    [("return 5", 5), ("raise SystemExit(0)", 0), ("raise SystemExit", 0), ("sys.exit(4)", 4)],
)
def test_a_command_ends_its_process_whatever_its_threads_do(command: str, status: int) -> None:
    body = f"def serve(*_):\n    start()\n    {command}\ncli._status_of = serve\ncli.main()\n"
    assert ended(body).returncode == status


def test_threads_of_the_event_loop_are_not_waited_for() -> None:
    """asyncio would wait for them before anything else can end."""
    done = ended(
        "import asyncio\n"
        "from kernel.cli.serve import UnawaitedThreads\n"
        "async def work():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    loop.set_default_executor(UnawaitedThreads())\n"
        "    loop.run_in_executor(None, spin)\n"
        "asyncio.run(work())\n"
        "os.write(1, b'ended; ')\n"
        "end_process(0)\n"
    )
    assert (done.returncode, done.stdout[:7]) == (0, "ended; ")
    assert "the process ends without what still runs" in done.stdout


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_ends_a_process_that_is_blocked(signals: int) -> None:
    """The handler of an event loop would wait for the loop."""
    forced = "deadline.END_SECONDS = 1000\n" if signals == 2 else ""
    done = ended(
        f"{forced}seen = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: seen.append(1))\n"
        "def ask():\n"
        f"    for _ in range({signals}):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        while not seen:\n"
        "            time.sleep(0.01)\n"
        "        seen.clear()\n"
        "ProcessDeadline().watch([signal.SIGTERM])\n"
        "threading.Thread(target=ask).start()\n"
        "spin()\n"
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "MainThread at <string>:" in done.stdout


def test_ignored_signals_stay_ignored() -> None:
    done = ended(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "ProcessDeadline().watch([signal.SIGHUP])\n"
        "assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
