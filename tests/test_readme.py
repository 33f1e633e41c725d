"""The README states facts, and its commands run as they are."""

from __future__ import annotations

import pytest

from tests.pages import ROOT, alike, blocks, last_reply, run_shell, section

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_tour_works_when_pasted_and_shows_what_the_server_replies(make_server):
    server = make_server()
    tour = section(README, "Five minutes with curl")
    outputs = run_shell(tour, server.url, ROOT)
    assert len(outputs) >= 7
    assert [shown for _, shown in outputs].count(None) < len(outputs) / 2
    for output, shown in outputs:
        if shown is not None:
            assert alike(last_reply(output)) == alike(shown)
    registered, installed, _, changed, role, bob, trail, undone = (output for output, _ in outputs)
    for output in (registered, installed, changed, role):
        assert "error" not in output
    assert '"title":"Renewal"' in bob
    assert '"title":"Licences"' not in bob
    assert "' not found" in bob
    operations = [line for line in trail.splitlines() if line.startswith('"operation"')]
    assert operations == [f'"operation":"{word}"' for word in ("DELETE", "UPDATE", "INSERT")]
    assert undone.splitlines() == ['"undone":1', '"title":"Licences"']


def test_the_tour_has_no_comments_that_zsh_would_stumble_over():
    for block in blocks(section(README, "Five minutes with curl")):
        if block.language == "sh":
            assert not [line for line in block.text.splitlines() if line.lstrip().startswith("#")]


def test_the_plugin_is_a_plugin(make_server, tmp_path):
    [python] = [b for b in blocks(section(README, "A plugin")) if b.language == "python"]
    assert len([line for line in python.text.splitlines() if line.strip()]) <= 11
    (tmp_path / "greet.py").write_text(python.text, "utf-8")
    server = make_server({"server": {"plugin_files": [str(tmp_path / "greet.py")]}})
    assert server.http.get("/greet").status_code == 401
    assert server.admin.get("/greet").json() == {"hello": server.admin.username}


def test_the_configuration_is_one(tmp_path):
    from kernel.config.settings import load_config
    from kernel.loading.loader import load

    [toml] = [b for b in blocks(section(README, "Configure")) if b.language == "toml"]
    (tmp_path / "caudex.toml").write_text(toml.text, "utf-8")
    kernel = load(load_config(str(tmp_path / "caudex.toml"), environ={}))
    assert "vault" in [info.name for info in kernel.plugins if info.state == "off"]


@pytest.mark.parametrize(
    "peer", ["Directus", "PocketBase", "Supabase, PostgREST", "FastAPI by hand"]
)
def test_a_peer_has_something_too(peer):
    [row] = [line for line in README.splitlines() if line.startswith(f"| {peer} |")]
    _, _, theirs, ours, _ = row.split("|")
    assert min(len(theirs), len(ours)) > 40
