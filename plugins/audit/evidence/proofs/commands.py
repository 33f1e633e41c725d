"""`caudex audit`: verify and export the trail, prove a row, and check such files elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final

import click
import msgspec

from kernel.public import BadRequest, Command, OpenServices
from plugins.audit.evidence.routes import read_moment
from plugins.audit.evidence.seals import SignedSeal, read_link, read_public_key
from plugins.audit.evidence.service import EVIDENCE
from plugins.audit.evidence.store import RowFilter
from plugins.audit.evidence.verifier import Problem, Report

from .checker import Finding, check_file

FILE: Final = click.Path(dir_okay=False, path_type=Path)


def audit_command() -> Command:
    """Describe the command."""
    since = click.Option(["--since"], metavar="TIME", help="rows of this time or later")
    key = click.Option(
        ["--key", "keys"], metavar="PUBLIC", multiple=True,
        help="a public key of seals, beside that of this server",
    )  # fmt: skip
    verify = Command(
        name="verify",
        help="compare the trail with its seals, and name the first row that was changed",
        run=_verify,
        parameters=[
            since,
            key,
            click.Option(["--witness"], type=FILE, metavar="FILE",
                         help="what the witness has, to compare seals with"),
            click.Option(["--json", "as_json"], is_flag=True, help="print JSON"),
        ],
    )  # fmt: skip
    export = Command(
        name="export",
        help="write rows with proofs, for `caudex audit check`",
        run=_export,
        parameters=[
            click.Argument(["file"], type=FILE, required=False),
            click.Option(["--app"], metavar="APP", help="rows of this app, or core"),
            since,
            click.Option(["--until"], metavar="TIME", help="rows of times before this one"),
        ],
    )
    prove = Command(
        name="prove",
        help="print the proof of a row, for `caudex audit check`",
        run=_prove,
        parameters=[click.Argument(["row_id"], type=click.IntRange(min=1))],
    )
    check = Command(
        name="check",
        help="check an export or a proof, on any machine: no server or configuration is needed",
        run=_check,
        parameters=[
            click.Argument(["file"], type=FILE),
            click.Option(["--key", "keys"], metavar="PUBLIC", multiple=True, required=True,
                         help="the public key of the server; may be repeated"),
        ],
        needs_services=False,
        needs_plugins=False,
    )  # fmt: skip
    return Command(
        name="audit",
        help="verify, export and prove the audit trail",
        actions=[verify, export, prove, check],
    )


async def _verify(
    open_services: OpenServices,
    *,
    since: str | None,
    keys: Sequence[str],
    witness: Path | None,
    as_json: bool,
) -> int:
    further_keys = [read_public_key(key) for key in keys]
    moment = read_moment("--since", since)
    witnessed = {} if witness is None else _read_witness(witness)
    async with open_services() as services:
        verifier = services.get(EVIDENCE).verifier(*further_keys)
        report = await verifier.verify(moment, witnessed=witnessed)
    if as_json:
        print(msgspec.json.encode(report).decode())
    else:
        _print_report(report)
    return 0 if report.ok else 1


def _print_report(report: Report) -> None:
    if report.problem is not None:
        print(describe_problem(report.problem))
    until = report.verified_until or "nothing"
    print(f"verified up to {until}: {report.rows} rows, {report.seals} seals")
    print(f"{report.pending} rows are not sealed yet")
    if report.dropped_before is not None:
        print(f"rows of times before {report.dropped_before} may be gone by retention")
    print(f"key {report.key}")


def describe_problem(problem: Problem) -> str:
    """Say what is wrong."""
    if problem.kind == "seal":
        made_at = f" of {problem.at}" if problem.at else ""
        return (
            f"seal {problem.id}{made_at} is not what was signed, or does not follow its predecessor"
        )
    return f"row {problem.id} of {problem.at} was {problem.kind} after it was sealed"


def _read_witness(file: Path) -> dict[int, set[str]]:
    """Read the hashes of seals from what the witness has. Raises BadRequest."""
    hashes: dict[int, set[str]] = {}
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                link = read_link(msgspec.json.decode(line, type=SignedSeal))
                if link is None:
                    raise BadRequest(f"{file}: line {number} is no seal")
                hashes.setdefault(link.seal.seal, set()).add(link.signed.hash())
    except (OSError, msgspec.DecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {error}") from None
    return hashes


async def _export(
    open_services: OpenServices,
    *,
    file: Path | None,
    app: str | None,
    since: str | None,
    until: str | None,
) -> int:
    rows = RowFilter(
        app_id=app, since=read_moment("--since", since), until=read_moment("--until", until)
    )
    with _open_output(file) as out:
        async with open_services() as services:
            exporter = services.get(EVIDENCE).exporter
            async for piece in exporter.export(rows, with_proofs=True):
                out.write(piece)
        out.flush()
    return 0


def _open_output(file: Path | None) -> AbstractContextManager[BinaryIO]:
    """Create a file, or use the standard output. Raises BadRequest."""
    if file is None:
        return nullcontext(sys.stdout.buffer)
    try:
        return file.open("xb")
    except OSError as error:
        raise BadRequest(f"{file} cannot be written: {error.strerror}") from None


async def _prove(open_services: OpenServices, *, row_id: int) -> int:
    async with open_services() as services:
        proof = await services.get(EVIDENCE).exporter.prove(row_id)
    print(msgspec.json.format(msgspec.json.encode(proof)).decode())
    return 0


async def _check(_: OpenServices, *, file: Path, keys: Sequence[str]) -> int:
    finding = check_file(file, [read_public_key(key) for key in keys])
    for line in describe_finding(finding):
        print(line)
    return 1 if finding.problem else 0


def describe_finding(finding: Finding) -> list[str]:
    """Say what a check found."""
    if finding.problem:
        return [f"not proven: {finding.problem}"]
    sealed = finding.rows - finding.unsealed
    lines = [f"{sealed} rows are as they were sealed, by {finding.seals} seals"]
    if finding.first is not None and finding.last is not None:
        lines.append(f"sealed from {finding.first.at} to {finding.last.at}")
    if finding.unsealed:
        lines.append(f"{finding.unsealed} rows are not sealed yet: nothing vouches for them")
    if finding.has_gaps or not finding.is_complete:
        lines.append("the file has a part of the trail: it does not show that no row is missing")
    elif finding.rows > 1:
        lines.append("no row between the first and the last is missing")
    return lines
