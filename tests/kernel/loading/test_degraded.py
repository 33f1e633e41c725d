"""A server without a plugin that failed to start: it says so wherever someone asks."""

from pathlib import Path
from typing import Any

import pytest

from kernel.errors import BootError
from kernel.testing import MakeServer

MAILER = """
from contextlib import asynccontextmanager
from caudex import *

class Letter(Section, frozen=True, kw_only=True):
    text: str

class MailerPlugin(Plugin):
    name = "mailer"

    @hookimpl
    def register_routes(self, services):
        return [Route("GET", "/mail", self.get, needs=ANY_USER, admit=self.admit),
                Route("POST", "/mail", self.post, needs=CORE_ADMIN, body=Letter)]

    async def admit(self, request): raise RuntimeError("it never started")
    async def get(self, request): return reply([])
    async def post(self, request, body): return reply({})

    @hookimpl
    async def health(self):
        return Health(name="mail")

    @hookimpl
    @asynccontextmanager
    async def lifespan(self, services):
        raise OSError("smtp.example:25 password=hush refuses")
        yield
"""


def missing_mailer(folder: Path, text: str = MAILER) -> dict[str, Any]:
    (folder / "mailer.py").write_text(text)
    return {
        "server": {"plugins_dir": str(folder)},
        "plugins": {"mailer": {"on_failure": "degrade"}},
    }


def test_its_routes_answer_503_to_those_who_may_enter(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(missing_mailer(tmp_path))
    assert server.http.get("/mail").status_code == 401
    assert server.user().post("/mail", json={"text": "x"}).status_code == 403
    for answer in (server.user().get("/mail"), server.admin.post("/mail", content=b"no JSON")):
        assert answer.status_code == 503
        assert answer.json() == {"error": "plugin mailer is not available: it failed to start"}
        assert answer.headers["retry-after"] == "60"
    assert server.admin.get("/api/v1/audit").status_code == 200


def test_a_plugin_that_cannot_be_imported_has_no_routes_to_answer_for(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(missing_mailer(tmp_path, "1 / 0"))
    assert server.admin.get("/mail").status_code == 404


def test_without_leave_the_start_is_refused(make_server: MakeServer, tmp_path: Path) -> None:
    config = missing_mailer(tmp_path)
    with pytest.raises(BootError, match=r"plugin mailer, .*mailer\.py:\d+: it failed to start"):
        make_server({**config, "plugins": {}})
