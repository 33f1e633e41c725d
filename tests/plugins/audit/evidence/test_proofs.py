"""Exports and proofs, and what checks them without a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from kernel.errors import BadRequest, KernelError
from kernel.testing import Client, Server
from plugins.audit.evidence.proofs.checker import Finding, check_file
from plugins.audit.evidence.proofs.commands import describe_finding
from plugins.audit.evidence.seals import Signer
from plugins.audit.evidence.store import RowFilter
from tests.plugins.audit.conftest import Alone, install
from tests.plugins.audit.evidence.support import evidence_of, prepare, seal, seals, tamper, write
from tests.plugins.audit.stand_in import CLERK, ROOT


@pytest.fixture
def server(make_alone: Alone) -> Server:
    server = prepare(make_alone())
    install(server, "hr", "people")
    for _ in range(3):
        write(server, 3)
        server.sql("insert into hr.people (name) values ('Grace')")
        seal(server)
    write(server, 2)
    return server


def export(server: Server, **rows: Any) -> list[bytes]:
    """The lines of an export with proofs."""

    async def collect() -> bytes:
        exporter = evidence_of(server).exporter
        pieces = exporter.export(RowFilter(**rows), with_proofs=True)
        return b"".join([piece async for piece in pieces])

    return server.run(collect).splitlines(keepends=True)


def prove(server: Server, row_id: int) -> bytes:
    proof = server.run(lambda: evidence_of(server).exporter.prove(row_id))
    return msgspec.json.format(msgspec.json.encode(proof))


def check(server: Server, folder: Path, content: bytes | Sequence[bytes]) -> Finding:
    path = folder / "file"
    path.write_bytes(content if isinstance(content, bytes) else b"".join(content))
    return check_file(path, [seals(server)[-1].key])


def is_row(line: bytes) -> bool:
    return line.startswith(b'{"id":')


def test_an_export_of_everything_is_proven(server: Server, tmp_path: Path) -> None:
    lines = export(server)
    finding = check(server, tmp_path, lines)
    assert finding.problem == ""
    assert (finding.rows, finding.unsealed, finding.seals) == (14, 2, 3)
    assert finding.is_complete
    assert not finding.has_gaps
    assert "no row between the first and the last is missing" in describe_finding(finding)


@pytest.mark.parametrize("app", ["crm", "hr"])
def test_a_part_is_proven_too(server: Server, tmp_path: Path, app: str) -> None:
    lines = export(server, app_id=app)
    assert {json.loads(line)["table_schema"] for line in lines if is_row(line)} == {app}
    finding = check(server, tmp_path, lines)
    assert finding.problem == ""
    assert not finding.is_complete
    assert any("does not show that no row is missing" in text for text in describe_finding(finding))


def test_times_choose_rows(server: Server, tmp_path: Path) -> None:
    times = [row[0] for row in server.sql("select changed_at from caudex_audit.log order by id")]
    since, until = times[4], times[-1]
    lines = export(server, since=since, until=until)
    ids = [json.loads(line)["id"] for line in lines if is_row(line)]
    wanted = server.sql(
        "select id from caudex_audit.log where changed_at >= %s and changed_at < %s order by id",
        since, until,
    )  # fmt: skip
    assert ids == [row_id for (row_id,) in wanted]
    assert check(server, tmp_path, lines).problem == ""
    later = datetime.now(UTC) + timedelta(days=1)
    assert export(server, since=later) == []


@pytest.mark.parametrize("place", range(15))
def test_a_changed_line_is_found(server: Server, tmp_path: Path, place: int) -> None:
    lines = export(server)[:15]
    line = lines[place]
    forged = line.replace(b"Ada", b"Eve") if b"Ada" in line else line.replace(b"Grace", b"Eve")
    if forged == line:
        forged = line.replace(b'rows\\":', b'rows\\":1')
    assert forged != line
    lines[place] = forged
    assert check(server, tmp_path, lines).problem


@pytest.mark.parametrize("place", range(14))
def test_a_line_that_is_left_out_is_found(server: Server, tmp_path: Path, place: int) -> None:
    lines = export(server)[:15]
    del lines[place]
    assert check(server, tmp_path, lines).problem


def test_a_line_that_is_added_or_moved_is_found(server: Server, tmp_path: Path) -> None:
    lines = export(server)
    assert check(server, tmp_path, [lines[0], *lines]).problem
    assert check(server, tmp_path, [lines[1], lines[0], *lines[2:]]).problem
    assert check(server, tmp_path, [*lines[5:10], *lines[:5]]).problem


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(b'"id":', b'"id": '),
        lambda line: b'{"id":1,' + line[1:],
        lambda line: line.replace(b'"follows":', b'"other":'),
        lambda line: b'{"id":3}\n',
        lambda line: b"\xff\xfe\n",
    ],
)
def test_a_row_that_was_written_again_is_refused(server: Server, tmp_path: Path, change) -> None:
    lines = export(server)
    finding = check(server, tmp_path, [lines[0], change(lines[1]), *lines[2:]])
    assert finding.problem.startswith("line 2: it is no row of an export")


def test_a_seal_that_is_left_out_is_a_gap(server: Server, tmp_path: Path) -> None:
    lines = export(server)
    finding = check(server, tmp_path, [*lines[:5], *lines[10:]])
    assert finding.problem == ""
    assert finding.has_gaps


def test_another_key_proves_nothing(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"".join(export(server)))
    other = Signer(b"\x05" * 32).public
    assert "not signed by the key" in check_file(path, [other]).problem
    assert check_file(path, [other, seals(server)[-1].key]).problem == ""


def test_a_changed_row_is_exported_without_a_proof(server: Server, tmp_path: Path) -> None:
    row_id = json.loads(export(server)[2])["id"]
    tamper(
        server,
        f"""update caudex_audit.log set new_record = '{{"name": "Eve"}}' where id = {row_id}""",
    )
    assert "a row was changed" in check(server, tmp_path, export(server)).problem
    with pytest.raises(KernelError, match="not as it was sealed"):
        prove(server, row_id)


def test_every_sealed_row_has_a_proof(server: Server, tmp_path: Path) -> None:
    ids = [json.loads(line)["id"] for line in export(server) if is_row(line)]
    for row_id in ids[:-2]:
        content = prove(server, row_id)
        finding = check(server, tmp_path, content)
        assert finding.problem == ""
        assert finding.rows == 1
        assert check(server, tmp_path, content.replace(b"INSERT", b"DELETE")).problem
        assert check(server, tmp_path, content.replace(b'"place": ', b'"place": 1')).problem


def test_a_row_that_is_not_sealed_or_not_there_has_none(server: Server) -> None:
    [(last,)] = server.sql("select max(id) from caudex_audit.log")
    with pytest.raises(KernelError, match="is not sealed yet"):
        prove(server, last)
    with pytest.raises(KernelError, match="has no row 999999"):
        prove(server, 999_999)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"no json", b"\xff" * 20, b'{"proof": 1}'])
def test_another_file_is_refused(server: Server, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadRequest, match="neither an export with proofs nor a proof"):
        check(server, tmp_path, content)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        check_file(tmp_path / "none", ["00"])


def test_over_http_a_line_is_the_row_and_its_seal(server: Server) -> None:
    with Client(base_url=server.url, headers={"x-user": ROOT}) as root:
        reply = root.get("/api/v1/audit/export")
        assert reply.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in reply.text.splitlines()]
        shown = root.get("/api/v1/audit", params={"limit": 1000}).json()
        assert root.head("/api/v1/audit/export").status_code == 200
    assert [line.pop("seal") for line in lines] == [1] * 4 + [2] * 4 + [3] * 4 + [None] * 2
    assert lines == shown[::-1]


def test_over_http_with_proofs_it_is_what_the_command_writes(
    server: Server, tmp_path: Path
) -> None:
    with Client(base_url=server.url, headers={"x-user": ROOT}) as root:
        content = root.get("/api/v1/audit/export?proofs=true&app_id=hr").content
    assert content == b"".join(export(server, app_id="hr"))
    assert check(server, tmp_path, content).problem == ""


@pytest.mark.parametrize("user", [CLERK, None])
def test_the_evidence_is_for_core_admins(make_alone: Alone, user: str | None) -> None:
    """The stand-in for roles lets all in: the declaration of the routes is what counts."""
    server = make_alone()
    headers = {"x-user": user} if user else {}
    routes = {
        route.path: str(route.needs)
        for plugin in server.kernel.instances
        if plugin.name == "audit"
        for route in plugin.register_routes(server.services)
    }
    assert routes["/api/v1/audit/evidence"] == "core admin"
    assert routes["/api/v1/audit/export"] == "core admin"
    if not headers:
        assert server.http.get("/api/v1/audit/export").status_code == 401


def test_few_exports_run_at_a_time(server: Server) -> None:
    with Client(base_url=server.url, headers={"x-user": ROOT}) as root:
        for _ in range(6):
            with root.stream("GET", "/api/v1/audit/export") as reply:
                assert reply.status_code == 200
        assert httpx.codes.is_success(root.get("/api/v1/audit/export").status_code)
