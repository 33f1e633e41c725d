"""pgbench with the very statements that the server sends, read from PostgreSQL's own log."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg
from msgspec.structs import replace

from plugins.postgres import pg_bin

from .stage import Stage

PREFIX = "%a> "
EXECUTE = re.compile(r"^caudex[^>]*> LOG:  execute (\S+): ", re.MULTILINE)
NEXT_LINE = re.compile(r"^(?!\t)", re.MULTILINE)
PARAMETERS = re.compile(r"^caudex[^>]*> DETAIL:  [Pp]arameters: ", re.MULTILINE)
PARAMETER = re.compile(r"\$(\d+) = (NULL|'(?:[^']|'')*')")
MADE = re.compile(r'\bselect (?:x\."id"::uuid|n\.id),')
MADE_ONE = re.compile(r'\("?id"?,[^)]*\)\s+(?:select |values \()(\$(\d+)::uuid),')
"""Ids that the server makes: a script runs many times, so PostgreSQL makes them there."""
COUNT = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
TPS = re.compile(r"^tps = ([0-9.]+) \(without", re.MULTILINE)


class Statement(msgspec.Struct, frozen=True):
    """One statement with its parameters, and whether the server lets PostgreSQL keep its plan."""

    text: str
    params: tuple[str | None, ...]
    prepared: bool


@contextmanager
def logged(stage: Stage) -> Generator[None]:
    """Let PostgreSQL log every statement meanwhile."""
    _log_statements(stage, on=True)
    try:
        yield
    finally:
        _log_statements(stage, on=False)


def sent(stage: Stage, table: str, send: Callable[[], object]) -> list[Statement]:
    """Return the statements about `table` that a call of `send` makes the server run.

    To be called while they are `logged`.
    """
    start = stage.database_log.stat().st_size
    send()
    time.sleep(0.1)
    with stage.database_log.open("rb") as log:
        log.seek(start)
        found = list(statements_in(log.read().decode("utf-8", "replace"), table))
    if not found:
        raise RuntimeError(f"PostgreSQL's log has no statement about {table}")
    return found


def _log_statements(stage: Stage, *, on: bool) -> None:
    values = {"log_statement": "'all'", "log_line_prefix": f"'{PREFIX}'"}
    changes = [f"set {name} = {value}" if on else f"reset {name}" for name, value in values.items()]
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        for change in changes:
            connection.execute(f"alter system {change}")
        connection.execute("select pg_reload_conf()")
    time.sleep(0.4)


def statements_in(log: str, table: str) -> Iterator[Statement]:
    """Find the statements about `table` that the server's connections ran."""
    for match in EXECUTE.finditer(log):
        end = NEXT_LINE.search(log, match.end())
        text = log[match.end() : end.start() if end else len(log)].replace("\n\t", "\n").strip()
        if table not in text:
            continue
        params: dict[int, str | None] = {}
        if end and PARAMETERS.match(log, end.start()):
            line = log[end.start() :].split("\ncaudex", 1)[0]
            for number, value in PARAMETER.findall(line):
                params[int(number)] = None if value == "NULL" else value[1:-1].replace("''", "'")
        yield Statement(
            text,
            tuple(params[number] for number in sorted(params)),
            prepared=match[1] != "<unnamed>",
        )


class Pgbench:
    """Runs one list of statements, with several sets of parameters, as fast as it goes."""

    def __init__(
        self,
        folder: Path,
        name: str,
        statements: Sequence[Statement],
        instead: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.mode = "prepared" if all(each.prepared for each in statements) else "extended"
        self.arguments: list[str] = []
        self._folder = folder
        self._statements = [_with_new_ids(each) for each in statements]
        instead = instead or {}
        for variant in range(max(map(len, instead.values()), default=1)):
            self._script(name, variant, {k: v[variant] for k, v in instead.items()})

    def body(self, stage: Stage) -> bytes:
        """What the statements answer to any caller that asks the database itself."""
        with psycopg.connect(stage.dsn, autocommit=True) as connection:
            raw, found = psycopg.RawCursor(connection), list[object]()
            for statement in self._statements:
                raw.execute(statement.text.encode(), statement.params)
                found += [row[0] for row in raw.fetchall()]
            return msgspec.json.encode(found)

    def run(self, stage: Stage, seconds: int, clients: int) -> tuple[float, float, int]:
        """Return transactions a second, the seconds that one takes on the average, and how many
        there were."""
        command = [
            str(pg_bin("pgbench", stage.data_dir)), "-n", "-M", self.mode,
            "-c", str(clients), "-j", "2", "-T", str(seconds), *self.arguments, stage.dsn,
        ]  # fmt: skip
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds + 60
        )
        tps = TPS.search(done.stdout)
        if done.returncode or tps is None:
            raise RuntimeError(f"pgbench failed: {done.stderr.strip()[-500:]}")
        count = int(COUNT.findall(done.stdout)[-1])
        return float(tps[1]), clients / float(tps[1]), count

    def _script(self, name: str, variant: int, other: Mapping[str, str]) -> None:
        """Write a script; parameters are variables, which pgbench binds like the server does."""
        lines: list[str] = []
        for place, statement in enumerate(self._statements):
            text, literal = statement.text, f"v{variant}s{place}p"
            for number, value in enumerate(statement.params, 1):
                if value is None:  # a variable is never NULL
                    text = re.sub(rf"\${number}\b", "null", text)
                else:
                    self.arguments += ["-D", f"{literal}{number}={other.get(value, value)}"]
            lines.append(re.sub(r"\$(\d+)", rf":{literal}\1", text).replace("\n", " ") + ";")
        file = self._folder / f"{name}-{variant}.sql"
        file.write_text("\n".join(lines) + "\n", "utf-8")
        self.arguments += ["-f", str(file)]


def _with_new_ids(statement: Statement) -> Statement:
    if one := MADE_ONE.search(statement.text):
        text = statement.text[: one.start(1)] + "uuidv7()" + statement.text[one.end(1) :]
        place = int(one[2])
        text = re.sub(r"\$(\d+)", lambda each: f"${int(each[1]) - (int(each[1]) > place)}", text)
        params = (*statement.params[: place - 1], *statement.params[place:])
        return replace(statement, text=text, params=params)
    return replace(statement, text=MADE.sub("select uuidv7(),", statement.text))
