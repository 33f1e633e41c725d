"""The command `caudex` in this process, which is far quicker than in one of its own."""

import io
import logging
import os
import signal
import tempfile
from collections.abc import Generator, Mapping
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import structlog

from kernel.cli import main as cli
from tests.kernel.processes import Ended, environment

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def caudex_here(
    *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Ended:
    """Run a command to its end, in the current folder by default; `env` is all its environment."""
    out, err = io.StringIO(), io.StringIO()
    alone = _as_in_a_process(environment() if env is None else env)
    with alone, chdir(cwd) if cwd else nullcontext(), redirect_stdout(out), redirect_stderr(err):
        status = cli.main(words)
    return Ended(status, out.getvalue(), err.getvalue())


@contextmanager
def _as_in_a_process(env: Mapping[str, str]) -> Generator[None]:
    """Take back what a command sets for its process: handlers of signals, and logging."""
    root = logging.getLogger()
    before = root.handlers, root.level
    configured = structlog.get_config() if structlog.is_configured() else None
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with (
        mock.patch.dict(os.environ, dict(env), clear=True),
        mock.patch.object(tempfile, "tempdir", env.get("TMPDIR")),
    ):
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            root.handlers, root.level = before
            structlog.reset_defaults()
            if configured is not None:
                structlog.configure(**configured)
