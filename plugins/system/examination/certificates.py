"""Certificates of the connection to PostgreSQL: the server's, and the files of the url."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from psycopg.conninfo import conninfo_to_dict

from kernel.public import Finding

FILES: Final = ("sslcert", "sslrootcert")
SOON: Final = timedelta(days=30)
SECONDS: Final = 5.0
SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
"""See "SSLRequest" in PostgreSQL's documentation, "Message Formats"."""


def certificate_findings(url: str) -> Iterator[Finding]:
    """Report certificates that have expired, or will soon.

    libpq says "certificate verify failed", and not why.
    """
    if not url:
        return
    options = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    for option in FILES:
        path = Path(options.get(option, ""))
        if path.is_file():
            yield from _findings(f"{option} {path}", path.read_bytes())
    certificate = _server_certificate(options)
    if certificate is not None:
        yield from _findings("PostgreSQL's certificate", certificate)


def _findings(title: str, pem: bytes) -> Iterator[Finding]:
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        yield Finding(name="certificate", text=f"{title} holds no certificate", state="fail")
        return
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    remaining = end - datetime.now(UTC)
    if remaining > SOON:
        yield Finding(name="certificate", text=f"{title} is valid until {end:%Y-%m-%d}")
    elif remaining > timedelta(0):
        text = f"{title} expires on {end:%Y-%m-%d}: renew it"
        yield Finding(name="certificate", text=text, state="warn")
    else:
        text = f"{title} has expired on {end:%Y-%m-%d}: renew it"
        yield Finding(name="certificate", text=text, state="fail")


def _server_certificate(options: Mapping[str, str]) -> bytes | None:
    """Ask PostgreSQL for its certificate as PEM; None where it shows no certificate.

    Nothing is sent over the connection, so the certificate is not verified.
    """
    host = options.get("host", "").split(",")[0]
    if not host or host.startswith(("/", "@")) or options.get("sslmode") == "disable":
        return None
    port = options.get("port", "").split(",")[0] or "5432"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            connection.sendall(SSL_REQUEST)
            if connection.recv(1) != b"S":
                return None
            with context.wrap_socket(connection, server_hostname=host) as encrypted:
                certificate = encrypted.getpeercert(binary_form=True)
    except (OSError, ValueError):
        return None  # the finding about the database says what is wrong
    if certificate is None:
        return None
    return ssl.DER_cert_to_PEM_cert(certificate).encode()
