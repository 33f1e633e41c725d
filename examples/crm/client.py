"""A client for the Core REST API in the standard library alone."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import time
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

IDLE = 4.0
"""Seconds after which a connection is replaced: the server closes idle ones after five."""


Record = dict[str, Any]
"""A record as the server shows it: `id`, the declared fields, `created_at`, `updated_at`."""


class ApiError(Exception):
    """The server refused a request; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Speaks to one server as one user, over one connection."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        secure = place.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self.url = url.rstrip("/")
        self.user: dict[str, Any] = {}
        self._connection = kind(place.hostname or "", place.port, timeout=60)
        self._prefix = place.path.rstrip("/")
        self._token = ""
        self._used = 0.0

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def register(self, username: str, password: str, display_name: str) -> None:
        """Make an account."""
        account = {"username": username, "password": password, "display_name": display_name}
        self.post("/api/v1/auth/register", account)

    def login(self, username: str, password: str) -> None:
        """Sign in; what follows is done as this user."""
        session = self.post("/api/v1/auth/login", {"username": username, "password": password})
        self._token, self.user = session["accessToken"], session["user"]

    def get(self, path: str, **query: object) -> Any:
        """Read something; `query` becomes the query string."""
        return self.call("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: object) -> Any:
        """Make something, or ask a question that needs a body."""
        return self.call("POST", path, body)

    def patch(self, path: str, body: object) -> Any:
        """Change something."""
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        """Remove something."""
        return self.call("DELETE", path)

    def upload(self, path: str, field: str, content: bytes) -> Any:
        """Send a file as multipart/form-data (RFC 7578)."""
        boundary = secrets.token_hex(16)
        head = f'Content-Disposition: form-data; name="{field}"; filename="{field}"'
        body = b"--%b\r\n%b\r\nContent-Type: application/octet-stream\r\n\r\n%b\r\n--%b--\r\n" % (
            boundary.encode(), head.encode(), content, boundary.encode(),
        )  # fmt: skip
        return self._send("POST", path, body, f"multipart/form-data; boundary={boundary}")

    def events(self, path: str) -> Events:
        """Prepare to follow a stream of events."""
        kind = type(self._connection)
        connection = kind(self._connection.host, self._connection.port, timeout=60)
        return Events(connection, self._prefix + path, self._token)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the decoded reply. Raises ApiError, OSError."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(method, path, data, "application/json")

    def _send(self, method: str, path: str, data: bytes | None, content_type: str) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if data is not None:
            headers["Content-Type"] = content_type
        if time.monotonic() - self._used > IDLE:
            self._connection.close()
        self._connection.request(method, self._prefix + path, data, headers)
        response = self._connection.getresponse()
        raw = response.read()
        self._used = time.monotonic()
        reply = _decoded(raw)
        if response.status >= http.client.BAD_REQUEST:
            said = cast("Record", reply).get("error") if isinstance(reply, dict) else None
            raise ApiError(response.status, str(said or response.reason))
        return reply


class Events:
    """Events of a stream (`data: {...}` lines), on a connection of their own."""

    def __init__(self, connection: http.client.HTTPConnection, path: str, token: str) -> None:
        self._connection = connection
        self._request = (path, {"Authorization": f"Bearer {token}"})
        self._response: http.client.HTTPResponse | None = None

    def open(self) -> None:
        """Connect; what happens from now on will come. Raises ApiError, OSError."""
        self._connection.request("GET", self._request[0], headers=self._request[1])
        response = self._connection.getresponse()
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(response.status, response.read().decode(errors="replace"))
        self._response = response

    def close(self) -> None:
        """Close the connection, which ends an iteration."""
        if self._connection.sock:
            self._connection.sock.shutdown(socket.SHUT_RDWR)

    def __iter__(self) -> Iterator[Record]:
        assert self._response is not None, "open it first"
        with self._response as response:
            for raw in response:
                if raw.startswith(b"data: "):
                    yield json.loads(raw[6:])
        self._connection.close()


class Collection:
    """The records of one entity of an app."""

    def __init__(self, client: Client, app: str, entity: str) -> None:
        self.name = entity
        self._client = client
        self.path = f"/api/v1/apps/{app}/collections/{entity}"

    def create(self, record: object) -> Record:
        """Create one record."""
        return self._client.post(self.path, record)

    def create_many(self, records: object) -> list[Record]:
        """Create up to 1000 records, all or none."""
        return self._client.post(f"{self.path}/bulk", records)

    def get(self, record_id: str) -> Record:
        """Read one record."""
        return self._client.get(f"{self.path}/{quote(record_id, safe='')}")

    def update(self, record_id: str, changes: object) -> Record:
        """Change some fields."""
        return self._client.patch(f"{self.path}/{quote(record_id, safe='')}", changes)

    def delete(self, record_id: str) -> Record:
        """Delete one record."""
        return self._client.delete(f"{self.path}/{quote(record_id, safe='')}")

    def all(self, **filters: object) -> list[Record]:
        """Read every record that equals the filters."""
        return self._client.get(self.path, **filters)

    def query(self, where: object, **options: object) -> Any:
        """Ask with a where-tree: `{"data": [...], "total": n}`."""
        return self._client.post(f"{self.path}/query", {"where": where, **options})


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
