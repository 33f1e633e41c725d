"""No test of the fast lane is about seconds on the clock: it would fail beside other work."""

import textwrap

import pytest

from tests.architecture import numbers, timing


def test_the_fast_lane_asserts_no_time() -> None:
    timed = [
        f"{path.relative_to(numbers.ROOT)}:{line}"
        for path in timing.fast_files(numbers.ROOT)
        for line in timing.timed_assertions(path.read_text("utf-8"))
    ]
    assert not timed, "assert the order of events or processor time, or mark the test as slow"


def test_the_fast_lane_gives_up_on_nothing_early() -> None:
    impatient = [
        f"{path.relative_to(numbers.ROOT)}:{line}"
        for path in timing.fast_files(numbers.ROOT)
        for line in timing.impatient_waits(path.read_text("utf-8"))
    ]
    assert not impatient, "wait with the patience of tests.waiting, or mark the test as slow"


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("eventually(lambda: gone(), 5)", [3]),
        ("eventually(lambda: gone(), SOON, why)", [3]),
        ("waiting.eventually(lambda: gone(), seconds=5)", [3]),
        ("with anyio.fail_after(0.5):\n    wait()", [3]),
        ("def inner():\n    eventually(gone, 5)", [4]),
        ("eventually(lambda: gone())", []),
        ("eventually(lambda: gone(), 20)", []),
        ("eventually(lambda: gone(5), why=5)", []),
        ("eventually(lambda: gone(), seconds)", []),
    ],
)
def test_a_wait_that_gives_up_early_is_found(body: str, lines: list[int]) -> None:
    source = "SOON = 3.0\ndef test_x():\n" + textwrap.indent(body, "    ")
    assert list(timing.impatient_waits(source)) == lines
    assert list(timing.impatient_waits(source.replace("def t", "@pytest.mark.slow\ndef t"))) == []


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("assert time.monotonic() - began < 5", [4]),
        ("assert 5 > time.monotonic() - began", [4]),
        ("assert 1.9 < time.monotonic() - began < 5", [4]),
        ("took = time.monotonic() - began\nassert took <= limit", [5]),
        ("ended = time.monotonic()\nassert ended - began < 5", [5]),
        ("assert timed(call) < 5", [4]),
        ("took = [timed(call)]\nassert min(took) < 5", [5]),
        ("assert time.monotonic() - began > 5", []),
        ("assert token.expires - time.time() < 600_000", []),
        ("assert time.time() - 60 < token.made_at", []),
        ("while time.monotonic() - began < 5:\n    pass", []),
        ("spent = time.process_time()\nassert time.process_time() - spent < 5", []),
    ],
)
def test_a_bound_on_passed_time_is_found(body: str, lines: list[int]) -> None:
    source = "import time\ndef test_x():\n    began = time.monotonic()\n"
    source += textwrap.indent(body, "    ")
    source += "\ndef timed(call):\n    began = time.monotonic()\n    call()\n"
    source += "    return time.monotonic() - began\n"
    assert list(timing.timed_assertions(source)) == lines
    assert list(timing.timed_assertions(source.replace("def t", "@pytest.mark.slow\ndef t"))) == []
