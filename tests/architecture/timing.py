"""Finds tests of the fast lane that assert how many seconds have passed.

Such a test fails beside other work. Assert the order of events instead, or processor time
(`time.thread_time`, `time.process_time`), or mark the test as slow and measure several times.

It is found by its code: an `assert` that bounds a difference of moments of a clock from above,
whether the difference is in it, in a local name, or in what a function returns. Waiting until a
moment has come is no such test, nor is a lower bound, which other work does not break. A wait that
gives up after a few seconds is one too: it asserts that they are enough.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef

CLOCKS = {
    "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns",
    "time.time", "time.time_ns", "monotonic", "perf_counter",
    "asyncio.get_running_loop().time", "loop.time", "anyio.current_time",
}  # fmt: skip
WORDS = ("monotonic", "perf_counter", "time.time", "current_time", ".time()")
"""One of these is in each file that asks a clock: most files need not be parsed."""
ENDLESS = 1_000
"""Seconds beyond which a bound is about a date, such as that of a token."""
PATIENT = 20
"""Seconds that a wait lasts at least before it gives up."""
WAITS = {"eventually": 1, "until": 1, "fail_after": 0}
"""Functions that give up, with the place of the seconds among their arguments."""


def timed_assertions(source: str) -> Iterator[int]:
    """Yield the lines of a test file that assert in the fast lane how long something took."""
    if not any(word in source for word in WORDS):
        return
    tree = ast.parse(source)
    if any(_is_slow_mark(node) for node in tree.body):
        return
    timers = _timers(tree)
    for function in _fast_functions(tree):
        moments = set[str]()
        differences = set[str]()
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if _is_clock(node.value):
                    moments.add(name)
                elif _takes_difference(node.value, moments) or _calls(node.value, timers):
                    differences.add(name)
        for node in ast.walk(function):
            if isinstance(node, ast.Assert):
                for smaller in _bounded_from_above(node.test):
                    if (
                        _takes_difference(smaller, moments)
                        or _calls(smaller, timers)
                        or _names(smaller) & differences
                    ):
                        yield node.lineno


def impatient_waits(source: str) -> Iterator[int]:
    """Yield the lines of a test file that give up in the fast lane after a few seconds."""
    if not any(name in source for name in WAITS):
        return
    tree = ast.parse(source)
    if any(_is_slow_mark(node) for node in tree.body):
        return
    constants = _module_numbers(tree)
    for function in _fast_functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                limit = _limit_of(node, constants)
                if limit is not None and limit < PATIENT:
                    yield node.lineno


def _module_numbers(tree: ast.Module) -> dict[str, float]:
    """Return the numbers that a module has names for."""
    return {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, int | float)
    }


def _limit_of(call: ast.Call, constants: dict[str, float]) -> float | None:
    """Return the seconds that a call waits at most, None where it is no wait or does not say."""
    name = ast.unparse(call.func).rpartition(".")[2]
    if name not in WAITS:
        return None
    place = WAITS[name]
    limits = [word.value for word in call.keywords if word.arg in ("seconds", "delay")]
    limits += call.args[place : place + 1]
    for limit in limits:
        if isinstance(limit, ast.Constant) and isinstance(limit.value, int | float):
            return limit.value
        if isinstance(limit, ast.Name):
            return constants.get(limit.id)
    return None


def _timers(tree: ast.Module) -> set[str]:
    """Return the functions that return a number of seconds that have passed."""
    timers = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, Function):
            returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            if any(value is not None and _takes_difference(value, set()) for value in returned):
                timers.add(node.name)
    return timers


def _fast_functions(tree: ast.Module) -> Iterator[Function]:
    """Yield the functions of a module that are neither slow nor methods of a slow class."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not _is_marked_slow(node):
            if isinstance(node, Function):
                yield node
            else:
                methods = [one for one in node.body if isinstance(one, Function)]
                yield from (method for method in methods if not _is_marked_slow(method))


def _is_marked_slow(node: Function | ast.ClassDef) -> bool:
    return any(ast.unparse(mark).startswith("pytest.mark.slow") for mark in node.decorator_list)


def _is_slow_mark(node: ast.stmt) -> bool:
    """Whether a statement marks the whole module as slow."""
    if not isinstance(node, ast.Assign):
        return False
    return ast.unparse(node.targets[0]) == "pytestmark" and "mark.slow" in ast.unparse(node.value)


def _bounded_from_above(test: ast.expr) -> Iterator[ast.expr]:
    """Yield what an assertion says to be less than something near."""
    for node in ast.walk(test):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
                smaller, larger = left, right
                if isinstance(operator, ast.Gt | ast.GtE):
                    smaller, larger = right, left
                elif not isinstance(operator, ast.Lt | ast.LtE):
                    continue
                if not _is_far(larger):
                    yield smaller


def _is_far(bound: ast.expr) -> bool:
    if not isinstance(bound, ast.Constant) or not isinstance(bound.value, int | float):
        return False
    return bound.value >= ENDLESS


def _takes_difference(node: ast.expr, moments: set[str]) -> bool:
    """Whether an expression subtracts one moment of a clock from another."""
    for part in ast.walk(node):
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub):
            # `time.time() - 60` is a moment too.
            if _is_clock(part.left) and not isinstance(part.right, ast.Constant):
                return True
            if _names(part.left) & moments and _names(part.right) & moments:
                return True
    return False


def _is_clock(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and not node.args and ast.unparse(node.func) in CLOCKS


def _calls(node: ast.expr, functions: set[str]) -> bool:
    called = [part.func for part in ast.walk(node) if isinstance(part, ast.Call)]
    return any(isinstance(function, ast.Name) and function.id in functions for function in called)


def _names(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def fast_files(root: Path) -> Iterator[Path]:
    """Yield the tests that `make test` runs; faults and benchmarks measure time on purpose."""
    apart = {root / "tests" / "faults", root / "tests" / "benchmarks"}
    for folder in ("tests", "examples", "kernel/testing"):
        for path in sorted((root / folder).rglob("*.py")):
            if not apart & set(path.parents):
                yield path
