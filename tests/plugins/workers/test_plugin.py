"""The plugin among others: switched off, replaced, extended."""

import os
import tempfile
import textwrap
from pathlib import Path

import pytest

from kernel.testing import MakeServer, Postgres, running_server
from tests.plugins.workers.support import (
    QUICK,
    deploy,
    deployed,
    folder_of,
    install,
    result,
    rpc,
    status,
)


def test_switched_off_its_routes_are_gone_and_apps_go_on(make_server: MakeServer):
    off = {"enabled": False}
    server = make_server({"plugins": {"workers": off, "jobs": off}})
    app = install(server)
    for method, path in (("POST", "deploy"), ("GET", "worker/status"), ("POST", "rpc")):
        assert server.admin.request(method, f"/api/v1/apps/{app}/{path}").status_code == 404
    assert server.admin.delete(f"/api/v1/apps/{app}").status_code == 200


def test_a_relative_data_folder_is_where_the_server_was_started(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
):
    config = {"plugins": {"workers": QUICK}, "server": {"data_dir": "data"}}
    with tempfile.TemporaryDirectory(prefix="caudex-test-") as name, monkeypatch.context() as here:
        folder = Path(name).resolve()
        folder.chmod(0o755)  # accounts of apps pass through it
        here.chdir(folder)
        with running_server(postgres, config) as server:
            app = deployed(server)
            facts = result(server.admin, app, "facts")
    assert Path(facts["cwd"]).is_relative_to(folder / "data" / "workers")
    assert (facts["uid"] == os.geteuid()) is (os.geteuid() != 0)


SHELL = '''
"""Workers that are shell scripts."""

from caudex import LaunchSpec, Plugin, hookimpl


class Shell:
    name = "shell"

    def entry(self, folder):
        path = folder / "worker.sh"
        return path if path.is_file() else None

    def installs(self, folder):
        return [["/bin/sh", "-c", "echo installed > made-at-install"]]

    def launch(self, folder, entry):
        return LaunchSpec(argv=("/bin/sh", str(entry)), environment={"GREETING": "hello"})


class ShellPlugin(Plugin):
    """Adds a language."""

    name = "shell"

    @hookimpl
    def register_runtimes(self):
        """Add it."""
        return [Shell()]
'''
SCRIPT = """
read discover
echo '{"type":"discover","methods":["any"]}'
said="$GREETING $(cat made-at-install)"
while read line; do
  case "$line" in
    *'"type":"shutdown"'*) exit 0;;
    *) id=$(echo "$line" | sed 's/.*"id":"\\([^"]*\\)".*/\\1/')
       printf '{"type":"rpc_response","id":"%s","result":"%s"}\\n' "$id" "$said";;
  esac
done
"""


def test_a_plugin_adds_a_language(make_server: MakeServer, tmp_path: Path):
    file = tmp_path / "shell.py"
    file.write_text(textwrap.dedent(SHELL))
    plugins = {"workers": dict(QUICK)}
    server = make_server({"plugins": plugins, "server": {"plugin_files": [str(file)]}})
    app = deployed(server, {"worker.sh": SCRIPT})
    assert result(server.admin, app, "any") == "hello installed"
    [made] = folder_of(server.kernel.context.data_dir, app).glob("1-*/made-at-install")
    for path in (made, made.with_name("worker.sh"), made.parent):
        assert path.stat().st_uid == os.geteuid(), "the account of the app has it no longer"
    answer = deploy(server.admin, app, {"other.txt": "x"})
    assert "shell" in answer.json()["error"]


ELSEWHERE = '''
"""Workers that run somewhere else."""

from caudex import WORKERS, Plugin, WorkerStatus, hookimpl, provide


class Elsewhere:
    async def rpc(self, app_id, method, params, caller):
        return b'"from elsewhere"'

    async def status(self, app_id):
        return WorkerStatus(app_id=app_id, status="running", replicas=7)

    def running(self):
        return []

    def on_change(self, callback):
        pass

    async def restart(self, app_id):
        pass


class ElsewherePlugin(Plugin):
    """Provides WORKERS."""

    name = "elsewhere"

    @hookimpl
    def provide_services(self):
        """Provide it."""
        return [provide(WORKERS, lambda services: Elsewhere())]
'''


def test_another_engine_answers_behind_the_same_routes(make_server: MakeServer, tmp_path: Path):
    file = tmp_path / "elsewhere.py"
    file.write_text(ELSEWHERE)
    server = make_server(
        {"services": {"workers": "elsewhere"}, "server": {"plugin_files": [str(file)]}}
    )
    app = install(server)
    assert rpc(server.admin, app, "any").json() == "from elsewhere"
    assert status(server.admin, app)["replicas"] == 7
