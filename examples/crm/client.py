"""A client for the Core REST API in the standard library alone."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, cast
from urllib.parse import quote, urlencode, urlsplit

IDLE = 4.0
"""Seconds after which a connection is opened anew: the server closes idle ones after five."""


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

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the decoded reply. Raises ApiError, OSError."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
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
