"""Profiles of the property tests, what servers of the tests inherit, and how dear a password is."""

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from functools import cache
from importlib.metadata import EntryPoints, entry_points

import pytest
import structlog
from hypothesis import settings

from kernel.loading import sources
from plugins.auth.rules import passwords
from plugins.workers.isolation import sandbox

# The same examples in every run of CI: a change is judged by what it changed.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("soak", max_examples=2000, deadline=None)
settings.register_profile("here", deadline=None)  # a pause of the machine is no example's fault
settings.load_profile("ci" if os.environ.get("CI") else "here")

# A shell starts what runs in its background with SIGINT ignored, nohup with SIGHUP. Servers rightly
# keep to that, but here they are to be asked to end by it. What is started inherits no handler.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect garbage as rarely as a server does, and never look at the thousands of tests again.

    The collector took a fifth of the time of each process until the first test, and a tenth after.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000)
        gc.enable()


DEAR = (passwords.PASSES, passwords.MEMORY, passwords.PARAMETERS)
CHEAP = (1, 8192, "$argon2id$v=19$m=8,t=1,p=1$")


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Let servers of this process hash with the least that Argon2id takes: a test has no secrets,
    and guarding them took a sixth of the time of all."""
    yield from _hashing(CHEAP)


FRESH = "/caudex-data-"
"""In the path of each data folder that `run_server` makes; these differ by name alone."""


@pytest.fixture(scope="session", autouse=True)
def one_machine() -> Iterator[None]:
    """Look once at what is the same for all servers of this process: the packages that are
    installed, and whether a program runs in the sandbox and enters a folder that the kit made. It
    was a third of a server's start."""

    def installed(*, group: str) -> EntryPoints:
        return entries(group, tuple(sys.path))

    def succeeds(command: Sequence[str]) -> bool:
        if (last := command[-1]) != "true" and FRESH not in last:
            return once(command)
        key = tuple(part.replace(last, "") for part in command)
        if key not in answers:
            answers[key] = once(command)
        return answers[key]

    entries = cache(lambda group, _: entry_points(group=group))
    once = sandbox._succeeds
    answers = dict[tuple[str, ...], bool]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "entry_points", installed)
        patch.setattr(sandbox, "_succeeds", succeeds)
        yield


@pytest.fixture(autouse=True)
def same_logging() -> Iterator[None]:
    """Take back what a command in this process sets for its log: later tests look for lines."""
    configured, before = structlog.is_configured(), structlog.get_config()
    yield
    if configured:
        structlog.configure(**before)
    else:
        structlog.reset_defaults()


@pytest.fixture
def dear_hashes() -> Iterator[None]:
    """Hash as in production, for tests of just that."""
    yield from _hashing(DEAR)


def _hashing(parameters: tuple[int, int, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("PASSES", "MEMORY", "PARAMETERS"), parameters, strict=True):
            patch.setattr(passwords, name, value)
        yield
