"""Starts the hand-written peer, where its packages are installed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import httpx
from psycopg.conninfo import conninfo_to_dict

from .stage import ROOT, Stage

NEEDS = "import asyncpg, fastapi, sqlalchemy, uvicorn, uvloop, httptools"
TABLE = """
create schema peer;
create table peer.deals (
    id uuid primary key default gen_random_uuid(),
    title text not null, value double precision, stage text not null,
    contact_id uuid references crm.contacts (id), company_id uuid references crm.companies (id),
    close_date date, notes text,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create index on peer.deals (created_at desc, id desc);
insert into peer.deals
select id, title, value, stage, contact_id, company_id, close_date, notes, created_at, updated_at
from crm.deals;
vacuum analyze peer.deals
"""


@contextmanager
def peer(stage: Stage, python: str | None) -> Generator[str | None]:
    """Yield the peer's URL, or None when `python` (ours by default) lacks its packages."""
    python = python or sys.executable
    if subprocess.run([python, "-c", NEEDS], check=False, capture_output=True).returncode:
        yield None
        return
    stage.sql(*TABLE.split(";"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (stage.folder / "peer.log").open("wb") as log:
        process = subprocess.Popen(
            [
                python, "-m", "uvicorn", "tests.benchmarks.peer:app", "--port", str(port),
                "--no-access-log", "--loop", "uvloop", "--http", "httptools",
            ],
            cwd=ROOT, env=_environment(stage), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        _wait(process, f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def _environment(stage: Stage) -> dict[str, str]:
    known = conninfo_to_dict(stage.dsn)
    database = {
        "host": known["host"], "port": int(known["port"] or 5432), "user": known["user"],
        "password": known["password"], "database": known["dbname"],
    }  # fmt: skip
    return {**os.environ, "PEER_DATABASE": json.dumps(database)}


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            httpx.get(f"{url}/deals?limit=1", timeout=5).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the peer did not start")
