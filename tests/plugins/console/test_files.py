"""The files of the console: served as they are, small, and from nowhere else."""

import gzip
import hashlib
import re
import sys
from pathlib import Path

import pytest

from kernel.hooks.plugin import KERNEL_API
from kernel.testing import Server
from plugins.console.assets import lean
from plugins.console.assets.files import TYPES, WEB
from plugins.console.assets.lean import shorten
from plugins.console.assets.size import ALL_BYTES, budget, sizes
from plugins.console.assets.vendored import VENDORED

ASSETS = sorted(str(path.relative_to(WEB)) for path in WEB.rglob("*") if path.suffix in TYPES)


def test_vendored_modules_are_what_the_table_says():
    listed = {each.file for each in VENDORED}
    assert listed == {path.name for path in (WEB / "vendor").glob("*.js")}
    for each in VENDORED:
        body = (WEB / "vendor" / each.file).read_bytes()
        assert hashlib.sha256(body).hexdigest() == each.sha256, each.file
        assert each.licence in ("MIT", "Apache-2.0")


def test_the_licence_of_each_vendored_package_is_shipped():
    folder = WEB.parent / "licences"
    titles = {"MIT": "The MIT License", "Apache-2.0": "Apache License"}
    for each in VENDORED:
        assert titles[each.licence] in (folder / each.licence_file).read_text("utf-8"), each.file
    needed = {each.licence_file for each in VENDORED}
    assert {path.name for path in folder.iterdir()} == needed


@pytest.mark.parametrize("name", ASSETS)
def test_every_file_is_served_with_the_strict_policy(server: Server, name: str):
    answer = server.http.get(f"/console/{name}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    again = server.http.get(f"/console/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "name",
    ["nothing.js", "../__init__.py", "..%2f__init__.py", ".hidden", "core/..%2f..%2fconfig.py"],
)
def test_nothing_else_is_served(server: Server, name: str):
    assert server.http.get(f"/console/{name}").status_code == 404


def test_a_browser_is_led_to_the_console(server: Server):
    browser = server.http.get("/", headers={"accept": "text/html,*/*"}, follow_redirects=False)
    assert (browser.status_code, browser.headers["location"]) == (307, "/console/")
    program = server.http.get("/", headers={"accept": "application/json"})
    assert (program.status_code, program.json()) == (404, {"error": "there is no such route"})
    for accept in ("*/*", "text/html;q=0.1, application/json", "text/html;q=0, */*"):
        assert server.http.get("/", headers={"accept": accept}).status_code == 404


def test_the_server_prints_the_address_of_the_console(server: Server):
    notices = server.kernel.context.notices
    [said] = [each for each in notices if each.startswith("Console: ")]
    assert re.fullmatch(r"Console: http://[^/]+:\d+/console/", said)


def test_nothing_of_it_remains_when_it_is_off(make_server):
    server = make_server({"plugins": {"console": {"enabled": False}}})
    for path in ("/", "/console", "/console/", "/console/main.js", "/api/v1/console/session"):
        assert server.http.get(path, headers={"accept": "text/html"}).status_code == 404
    assert "/console" not in str(server.admin.get("/api/v1/plugins").json()["plugins"][0])
    status = server.admin.get("/api/v1/status").json()
    assert "console" not in status


def test_the_name_of_the_instance_is_text(make_server):
    server = make_server({"plugins": {"console": {"name": '<b>"Prod"&', "colour": "#c02020"}}})
    page = server.http.get("/console/").text
    assert 'data-name="&lt;b>&quot;Prod&quot;&amp;"' in page
    assert 'data-colour="#c02020"' in page


def test_an_edited_file_needs_no_restart(server: Server, monkeypatch, tmp_path: Path):
    from plugins.console.assets.files import Files

    (tmp_path / "a.js").write_text("1")
    files = Files(tmp_path)
    assert files._find("a.js").body == b"1"
    (tmp_path / "a.js").write_text("22")
    assert gzip.decompress(files._find("a.js").zipped) == b"22"


NAMES = re.compile(r"\bexport\s*(?:async\s+)?(?:function\s*\*?|const|let|class)\s*([\w$]+)")
LISTS = re.compile(r"\bexport\s*\{([^}]*)\}")
DEFAULTS = re.compile(r"\bexport default (?:async )?(?:function|class) (\w+)")


def exported_names(source: str) -> set[str]:
    lists = [names.split(",") for names in LISTS.findall(source)]
    listed = [name.split()[-1] for names in lists for name in names if name.strip()]
    defaults = ["default" for _ in DEFAULTS.findall(source)]
    return {*NAMES.findall(source), *listed, *defaults}


def test_what_only_readers_need_is_not_sent():
    source = (
        b"/** Why. */\nexport const add = (first, second) => {\n  return first + second; // x\n};\n"
    )
    assert shorten("a.js", source) == b"const e=(e,t)=>e+t;export{e as add}"
    style = b"/* Why. */\n.a > .b,\n.c {\n  margin: 0 4px; /* x */\n  top: 0;\n}\n"
    assert shorten("a.css", style) == b".a>.b,.c{margin:0 4px;top:0}"
    template = b'export const b = (text) => html`<p\n    class="x">\n      ${text}\n  </p>`;\n'
    sent = b'const e=e=>html`<p class="x">${e}<//>`;export{e as b}'
    assert shorten("a.js", template) == sent
    # The end of a text that is joined with others is no indentation.
    ending = b"export const c = (lines) => lines.join(' \\n  ');\n"
    assert shorten("a.js", ending).count(b"\n  ") + shorten("a.js", ending).count(b"\\n  ") == 1
    assert shorten("vendor/a.js", source) == source
    assert shorten("a.png", source) == source


@pytest.mark.parametrize("source", [b"const a = ;\n", b"const a = `\n", b"const a = '\xff';\n"])
def test_a_script_with_a_mistake_is_sent_as_it_is(source: bytes):
    assert shorten("a.js", source) == source


@pytest.mark.parametrize("name", [name for name in ASSETS if name.endswith((".js", ".css"))])
def test_what_is_sent_is_smaller_and_exports_the_same_names(name: str):
    body = (WEB / name).read_bytes()
    sent = shorten(name, body)
    assert exported_names(sent.decode()) == exported_names(body.decode())
    if not name.startswith("vendor/"):
        assert len(sent) < len(body) * 0.9


def test_without_the_library_sources_are_sent(monkeypatch):
    source = (WEB / "main.js").read_bytes()
    assert shorten("main.js", source) != source
    monkeypatch.setitem(sys.modules, "minify", None)
    lean._load_library.cache_clear()
    try:
        assert shorten("main.js", source) == source
    finally:
        lean._load_library.cache_clear()


def test_names_of_a_module_are_short_and_its_exports_stay():
    source = b"""/** What it is for. */
import { html } from './kit.js';
import * as all from './all.js';

let count = 0;
export default function Page() {
  count += 1;
  return html`<${Row} />`;
}
export async function* list() {
  yield* all.rows;
}
const Row = () => html`<p>${count}</p>`;
"""
    sent = shorten("a.js", source).decode()
    assert sent.startswith('import{html}from"./kit.js";import*as all from"./all.js";')
    assert exported_names(sent) == {"default", "list"}
    assert "count" not in sent
    assert "Row" not in sent


def test_what_is_exported_by_a_list_keeps_its_names():
    source = b"import { h } from './a.js';\nexport { h };\nexport const html = h.bind(null);\n"
    assert (
        shorten("a.js", source) == b'import{h}from"./a.js";export{h};export const html=h.bind(null)'
    )


def test_line_breaks_of_a_template_are_not_sent_where_they_mean_nothing():
    source = b"""html`<ul
    class="plain"
    ...${rest}
  >
    ${rows}
    ${more} and
    text
    <${Item}
      isOpen
    />
  </ul>`;
"""
    sent = b'html`<ul class="plain" ...${rest}>${rows}\n${more} and\ntext<${Item}\nisOpen/><//>`'
    assert shorten("a.js", source) == sent


def test_no_text_looks_like_a_line_break_beside_a_tag():
    """The library writes an escaped line break as a real one, and that may be taken for markup."""
    pattern = re.compile(r"\\n *(?:<|/?>|[\w:-]+=|\.\.\.\$)|>\\n")
    for path in WEB.rglob("*.js"):
        if path.parent.name != "vendor":
            lines = path.read_text("utf-8").splitlines()
            assert [line for line in lines if pattern.search(line)] == [], path


@pytest.mark.parametrize("library", ["deflate", None])
def test_what_is_packed_is_gzip(monkeypatch, library: str | None):
    body = (WEB / "main.js").read_bytes()
    best = len(lean.pack(body))
    if library is None:
        monkeypatch.setitem(sys.modules, "deflate", None)
    packed = lean.pack(body)
    assert gzip.decompress(packed) == body
    assert best <= len(packed)


def test_those_who_change_the_console_get_its_sources(make_server):
    server = make_server({"plugins": {"console": {"sources": True}}})
    for name in ("main.js", "console.css"):
        assert server.http.get(f"/console/{name}").content == (WEB / name).read_bytes()


def test_the_size_holds():
    assert budget() == [], budget()
    assert sum(sizes().values()) <= ALL_BYTES


def test_no_module_is_longer_than_a_thought():
    for path in WEB.rglob("*.js"):
        if path.parent.name != "vendor":
            assert len(path.read_text("utf-8").splitlines()) <= 400, path.name
    for folder in {path.parent for path in WEB.rglob("*.js")}:
        assert len(list(folder.glob("*.js"))) <= 12, folder


def test_no_file_names_another_host():
    for path in WEB.rglob("*.*"):
        text = path.read_text("utf-8")
        found = set(re.findall(r"https?://[\w.-]+", text)) - {"http://www.w3.org"}
        assert not {host for host in found if ".example" not in host and "${" not in host}, path


def test_streams_are_read_by_fetch_and_storage_holds_no_token():
    for path in WEB.rglob("*.js"):
        text = path.read_text("utf-8")
        assert "EventSource(" not in text, path
        for name in re.findall(r"localStorage(?:\.setItem\(|\[|\.getItem\()([^),\]]+)", text):
            assert name.strip("'") in ("caudex.theme", "mark", "KEY"), (path, name)
    assert (WEB / "core/api.js").read_text("utf-8").count("setItem(KEY, reply.key)") == 1


def test_the_version_of_the_kit_is_that_of_the_kernels_api():
    assert f"export const KIT = {KERNEL_API};" in (WEB / "core/kit.js").read_text("utf-8")
