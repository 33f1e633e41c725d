"""Logs: JSON for machines, pretty for people, without secrets, and never in the way."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from kernel.config.log import QUEUE, NonBlockingWriter, configure
from kernel.config.settings import LogConfig
from kernel.testing.servers import NO_TLS
from tests.kernel.processes import COMMAND, PROBE, environment, write_config
from tests.waiting import eventually

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWl0"
Reported = Callable[[], str]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Generator[None]:
    root, psycopg = logging.getLogger(), logging.getLogger("psycopg")
    before = root.handlers, root.level, psycopg.level
    yield
    root.handlers, root.level = before[:2]
    psycopg.setLevel(before[2])
    structlog.reset_defaults()


def logged(
    write: Callable[[], object], stream: io.StringIO | None = None, **settings: Any
) -> list[str]:
    """What comes out when `write` logs."""
    target = stream or io.StringIO()
    writer = configure(LogConfig(**settings), target)
    write()
    writer.close(30)
    return target.getvalue().splitlines()


def reported(**values: Any) -> dict[str, Any]:
    [line] = logged(lambda: structlog.get_logger("t").info("said", **values))
    return json.loads(line)


# --- forms ----------------------------------------------------------------------------------


def test_elsewhere_than_on_a_terminal_each_line_is_json() -> None:
    line = reported(n=1, ok=True, nothing=None, list=[1, "a"], map={"k": 2.5})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "event": "said", "level": "info", "n": 1, "ok": True, "nothing": None, "list": [1, "a"],
        "map": {"k": 2.5},
    }  # fmt: skip


def test_on_a_terminal_it_is_pretty() -> None:
    def write() -> None:
        structlog.get_logger("t").info("said", who="Zoë")

    [line] = logged(write, Terminal())
    assert "said" in line
    assert "\x1b[" in line
    assert not line.startswith("{")
    assert logged(write, Terminal(), format="json")[0].startswith("{")
    [line] = logged(write, format="pretty")
    assert "\x1b[" not in line


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_no_value_breaks_out_of_its_line(form: str) -> None:
    nasty = 'a\n{"event": "forged"}\r\x1b[2J\x00\u202e\ud800'
    lines = logged(lambda: structlog.get_logger("t").info("said", path=nasty), format=form)
    assert len(lines) == 1
    assert not set(lines[0]) & set("\r\x1b\x00\ud800")


def test_levels_are_the_configured_ones() -> None:
    def write() -> None:
        logger = structlog.get_logger("t")
        for level in ("debug", "info", "warning", "error"):
            getattr(logger, level)(level)

    events = [json.loads(line)["event"] for line in logged(write, level="warning")]
    assert events == ["warning", "error"]
    assert len(logged(write, level="debug")) == 4


def test_what_libraries_log_comes_in_the_same_form_from_warning_on() -> None:
    def write() -> None:
        logger = logging.getLogger("some.library")
        logger.info("chatter")
        logger.warning("mind %s", "the gap")
        try:
            raise LookupError("inner")
        except LookupError:
            logger.exception("failed")
        logging.getLogger("x").log(35, "an odd level")

    lines = [json.loads(line) for line in logged(write)]
    found = [(line["event"], line["level"], line.get("error")) for line in lines]
    assert found == [
        ("mind the gap", "warning", None),
        ("failed", "error", "LookupError: inner"),
        ("an odd level", "warning", None),
    ]


def test_an_exception_is_reported_with_its_traceback_in_one_line() -> None:
    def write() -> None:
        try:
            raise LookupError(f"with a token {JWT}")
        except LookupError as error:
            structlog.get_logger("t").error("failed", exc_info=error)

    [line] = logged(write)
    found = json.loads(line)["exception"]
    assert "LookupError: with a token" in found
    assert JWT not in line
    assert "locals" not in line
    pretty = "\n".join(logged(write, Terminal()))
    assert "LookupError" in pretty
    assert JWT not in pretty


# --- redaction ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "password", "passwd", "new_password", "PASSWORD", "secret", "client_secret", "token",
        "accessToken", "refresh_token", "authorization", "Cookie", "set-cookie", "dsn",
        "database_url", "api_key", "apikey", "OPENAI_API_KEY",
    ],
)  # fmt: skip
def test_values_under_telling_names_are_hidden(name: str) -> None:
    for value in ("hush", ["hush"], {"x": "hush"}, b"hush"):
        assert reported(**{name: value})[name] == "[hidden]"
        assert reported(inner={name: value}, many=[{name: value}]) | {"timestamp": ""} == {
            "event": "said", "level": "info", "timestamp": "",
            "inner": {name: "[hidden]"}, "many": [{name: "[hidden]"}],
        }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        f"Bearer {JWT}", f"({JWT})", "postgresql://app:hush@db/x", "redis://:hush@h",
        "host=h password=hush dbname=x", "password='hush hush' host=h", "?user=a&password=hush&x=1",
    ],
)  # fmt: skip
def test_tokens_and_passwords_within_texts_are_masked(text: str) -> None:
    def write() -> None:
        structlog.get_logger("t").info(text, detail=text, error=LookupError(text), many=[text])
        logging.getLogger("library").warning("connecting to %s", text)

    for line in logged(write):
        assert "hush" not in line
        assert JWT not in line
        assert "[hidden]" in line


def test_ordinary_values_are_left_as_they_are() -> None:
    line = reported(path="/api/v1/apps/crm", url="https://example.org/a?b=c", mail="a@example.org")
    assert line["path"] == "/api/v1/apps/crm"
    assert line["url"] == "https://example.org/a?b=c"
    assert line["mail"] == "a@example.org"


# --- a reader that stalls -------------------------------------------------------------------


class Stalled(io.StringIO):
    """A stream whose reader does nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.has_written = False

    def write(self, text: str) -> int:
        self.go.wait(60)
        self.has_written = True
        return super().write(text)


def test_a_stalled_reader_blocks_no_request_and_what_is_dropped_is_counted() -> None:
    stream = Stalled()
    writer = NonBlockingWriter(stream)
    writer.write("line 0\n")
    while not writer._lines.empty():  # until the thread holds it, and stalls
        time.sleep(0.001)
    for number in range(1, QUEUE + 101):
        writer.write(f"line {number}\n")
    writer.close(0.1)
    assert not stream.has_written, "nothing waited for the reader"
    assert writer.dropped == 100
    stream.go.set()
    writer.close(10)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "line 0"
    assert [line for line in lines if "lines were dropped" in line] != []
    assert writer.dropped == 0


def test_a_line_of_any_length_is_cut() -> None:
    stream = io.StringIO()
    writer = NonBlockingWriter(stream)
    writer.write("x" * 1_000_000 + "\n")
    writer.close(30)
    assert len(stream.getvalue()) < 30_000
    assert stream.getvalue().endswith("...\n")


def test_a_line_whose_values_are_cut_is_still_json() -> None:
    line = reported(text='"' * 30_000, deep={"list": ["\n" * 9_000] * 9}, user="ada")
    assert (line["event"], line["user"]) == ("said", "ada")
    assert len(json.dumps(line)) < 20_000
    assert line["text"].startswith('"""')


def test_of_a_long_traceback_the_beginning_is_kept() -> None:
    def fail() -> None:
        try:
            raise ValueError("x" * 30_000 + " at the end")
        except ValueError:
            structlog.get_logger("t").exception("said", text="\n" * 15_000)

    [line] = logged(fail)
    assert json.loads(line)["exception"].startswith("Traceback")


def test_a_stream_that_is_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        writer = NonBlockingWriter(stream)
        os.close(reading)
        for _ in range(3):
            writer.write("no one reads this\n")
        writer.close(30)
        assert writer.dropped > 0


def test_a_pipe_that_does_not_block_is_written_whole() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        writer = NonBlockingWriter(stream)
        for number in range(40):
            writer.write(f"{number:02}" + "x" * 10_000 + "\n")
        time.sleep(0.2)
        for number in range(40):
            assert reader.readline().startswith(f"{number:02}x")
        writer.close()


def ask(url: str) -> httpx.Response:
    """Send a request to a server that may have much to do."""
    return httpx.get(url, timeout=60, verify=NO_TLS)


@pytest.mark.slow
def test_a_server_whose_log_no_one_reads_goes_on_and_ends_well(
    tmp_path: Path, database: str
) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    write_config(
        tmp_path,
        {
            "server": {"data_dir": str(tmp_path / "data"), "plugin_files": ["probe.py"]},
            "database": {"url": database},
        },
    )
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0"], cwd=tmp_path, env=environment(),
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline().decode()
            assert line, "the server did not start"
            found = re.search(r"on (http://\S+)", line)
        # From here on no one reads: the pipe holds 64 kB, the queue some thousand lines.
        logs = f"{found[1]}/probe/log/{QUEUE + 2000}"
        assert ask(logs).status_code == 200
        for _ in range(20):
            assert ask(found[1] + "/api/v1/missing").status_code == 404

        # A reader that is back hears what was kept, and how much was not.
        os.set_blocking(process.stderr.fileno(), False)
        heard = bytearray()

        def hear() -> bool:
            heard.extend(process.stderr.read() or b"")  # type: ignore[union-attr]
            return b"log lines were dropped" in heard

        eventually(hear, 20)
        assert ask(logs).status_code == 200
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)  # the pipe is full again
        assert process.wait(30) == 0
        assert time.monotonic() - started < 10
