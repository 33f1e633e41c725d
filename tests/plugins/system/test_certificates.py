"""What `caudex doctor` says of the certificates of the connection to PostgreSQL."""

import asyncio
import ssl
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.system.examination.certificates import SSL_REQUEST, certificate_findings

STATES = [(-1, "fail", "has expired on"), (3, "warn", "expires on"), (400, "ok", "is valid until")]


def write_certificate(path: Path, days: int) -> None:
    """Write a key and a certificate that is valid for so many days, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    key_text = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(key_text + certificate.public_bytes(encoding))


@contextmanager
def postgres_with(certificate: Path) -> Generator[int]:
    """Answer the request for TLS as PostgreSQL does, and yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(SSL_REQUEST)) == SSL_REQUEST
        writer.write(b"S")
        await writer.start_tls(context)
        await reader.read()
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


@pytest.mark.parametrize(("days", "state", "words"), STATES)
def test_a_file_of_the_url_is_looked_at(tmp_path: Path, days: int, state: str, words: str) -> None:
    path = tmp_path / "root.pem"
    write_certificate(path, days)
    [finding] = certificate_findings(f"postgresql:///x?host=/nowhere&sslrootcert={path}")
    assert finding.state == state
    assert f"sslrootcert {path} {words}" in finding.text


@pytest.mark.parametrize(("days", "state", "words"), STATES)
def test_the_servers_own_is_looked_at(tmp_path: Path, days: int, state: str, words: str) -> None:
    path = tmp_path / "server.pem"
    write_certificate(path, days)
    with postgres_with(path) as port:
        [finding] = certificate_findings(f"postgresql://127.0.0.1:{port}/x")
    assert finding.state == state
    assert f"PostgreSQL's certificate {words}" in finding.text


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    path.write_text("nothing")
    [finding] = certificate_findings(f"postgresql:///x?host=/nowhere&sslrootcert={path}")
    assert (finding.state, finding.text) == ("fail", f"sslrootcert {path} holds no certificate")


@pytest.mark.parametrize("url", ["", "postgresql:///x", "postgresql://127.0.0.1:1/x"])
def test_without_tls_nothing_is_said(url: str) -> None:
    assert list(certificate_findings(url)) == []
