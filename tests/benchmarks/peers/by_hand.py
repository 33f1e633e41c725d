"""The CRM's deals in FastAPI, SQLAlchemy and asyncpg, on the same PostgreSQL and the same rows."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.benchmarks.stage import PASSWORD, Stage

from .program import Peer, free_port, program, serving

TABLES = """
create schema peer;
create table peer.accounts (username text primary key, password_hash text not null);
create table peer.companies (
    id uuid primary key, name text not null, industry text, website text, phone text,
    address text, notes text
);
insert into peer.companies
select id, name, industry, website, phone, address, notes from crm.companies;
create table peer.deals (
    id uuid primary key default gen_random_uuid(),
    title text not null, value double precision, stage text not null,
    contact_id uuid references crm.contacts (id), company_id uuid references peer.companies (id),
    close_date date, notes text,
    created_at timestamptz not null default now(), updated_at timestamptz not null default now()
);
create index on peer.deals (created_at desc, id desc);
create index on peer.deals (stage);
create index on peer.deals (company_id);
insert into peer.deals
select id, title, value, stage, contact_id, company_id, close_date, notes, created_at, updated_at
from crm.deals;
vacuum analyze peer.deals;
vacuum analyze peer.companies
"""


@contextmanager
def by_hand(stage: Stage) -> Generator[Peer]:
    """The running server, with a copy of the deals and an account."""
    stage.sql(*TABLES.split(";"))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        program("uvicorn"), "tests.benchmarks.peers.fastapi_app:app", "--no-access-log",
        "--port", url.rpartition(":")[2], "--loop", "uvloop", "--http", "httptools",
    ]  # fmt: skip
    environment = {"PEER_DATABASE": json.dumps(database(stage))}
    log = stage.folder / "by-hand.log"
    with serving(command, log, url, "/deals?limit=1", environment) as peer:
        account = {"username": "bench", "password": PASSWORD}
        made = httpx.post(f"{url}/register", json=account, timeout=30).raise_for_status().json()
        with psycopg.connect(stage.dsn, autocommit=True) as connection:
            connection.execute("insert into peer.accounts values ('bench', %s)", [made])
        yield peer


def database(stage: Stage) -> dict[str, object]:
    """How asyncpg connects."""
    known = conninfo_to_dict(stage.dsn)
    return {
        "host": known["host"], "port": int(known["port"] or 5432), "user": known["user"],
        "password": known["password"], "database": known["dbname"],
    }  # fmt: skip
