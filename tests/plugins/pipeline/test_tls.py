"""The pipelined driver by TCP, password and TLS, through a proxy that cuts records anywhere."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.plugins.pipeline.groups import pipelined

SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key and a certificate for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(encoding))
    (folder / "key.pem").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on what comes, in pieces as large as a TLS record can be."""
    with suppress(OSError):
        while piece := await source.read(1 << 17):
            sink.write(piece)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def behind_tls(dsn: str, folder: Path) -> AsyncGenerator[str]:
    """A PostgreSQL that speaks TLS only, in front of one that need not; yields its DSN."""
    wanted = conninfo_to_dict(dsn)
    cert, key = certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    serving = set[asyncio.Task[Any]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(this := cast("asyncio.Task[Any]", asyncio.current_task()))
        try:
            if await reader.readexactly(8) != SSL_REQUEST:
                return
            writer.write(b"S")
            path = f"{wanted['host']}/.s.PGSQL.{wanted['port']}"
            with suppress(OSError, asyncio.CancelledError):
                await writer.start_tls(context)
                inner_reader, inner_writer = await asyncio.open_unix_connection(path)
                await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
        finally:
            writer.close()
            serving.discard(this)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield make_conninfo(
            dsn, host="localhost", hostaddr="127.0.0.1", port=port, sslmode="verify-full",
            sslrootcert=str(cert),
        )  # fmt: skip
    finally:
        server.close()
        # A connection that is not closed when its loop is spoils whichever test comes then.
        async with asyncio.timeout(20):
            while serving:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_it_speaks_tls_and_sends_the_password(database: str, tmp_path: Path) -> None:
    if not str(conninfo_to_dict(database).get("host", "")).startswith("/"):
        pytest.skip("the database of this run is not on a Unix socket")
    async with behind_tls(database, tmp_path) as dsn, pipelined(dsn) as (driver, _):
        assert driver.groups["reads"].members
        assert all(
            member.wire.pg.ssl_in_use for each in driver.groups.values() for member in each.members
        )
        assert all(
            member.wire.pg.used_password
            for each in driver.groups.values()
            for member in each.members
        )
        for size in (1, 9_000, 17_000, 100_000, 3_000_000):
            query = "select repeat('x', $1::int) || $2::text"
            answers = await asyncio.gather(*(driver.fetch(query, size, n) for n in range(20)))
            assert answers == [b"x" * size + b"%d" % n for n in range(20)]
            text = "y" * size
            assert await driver.execute("select length($1::text)", text) == b"%d" % size


async def test_a_certificate_that_is_not_trusted_is_no_connection(
    database: str, tmp_path: Path
) -> None:
    if not str(conninfo_to_dict(database).get("host", "")).startswith("/"):
        pytest.skip("the database of this run is not on a Unix socket")
    async with behind_tls(database, tmp_path) as dsn:
        other = make_conninfo(dsn, host="elsewhere.example")
        with pytest.raises(psycopg.OperationalError, match="certificate"):
            await psycopg.AsyncConnection.connect(other)
