"""Frontends over HTTP, as the contract has them (reach.md, section 3)."""

import gzip
import socket
import tarfile
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from kernel.testing import Server
from tests.kernel.toolkit.test_archives import ATTACKS, END, entry
from tests.plugins.frontends.support import (
    PAGE,
    SCRIPT,
    SITE,
    Host,
    deploy,
    deployed,
    install,
    targz,
)

POLICY = (
    "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; style-src 'self'"
    " 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self';"
    " frame-ancestors 'self'"
)
HASHED = "/assets/index-DiwrgTda.js"


def trail(server: Server, app_id: str) -> list[str]:
    rows = server.admin.get("/api/v1/audit", params={"app_id": "core", "limit": 100}).json()
    return [row["operation"] for row in rows if row.get("record_id") == app_id]


def versions(server: Server, app_id: str) -> list[dict[str, Any]]:
    answer = server.admin.get(f"/api/v1/apps/{app_id}/frontend/versions")
    assert answer.status_code == 200, answer.text
    return answer.json()


def roll_back(server: Server, app_id: str, **body: Any) -> httpx.Response:
    return server.admin.post(f"/api/v1/apps/{app_id}/frontend/rollback", json=body)


# Deploys


def test_a_deploy_is_served_at_the_host_of_the_app(server: Server) -> None:
    app_id = install(server)
    host = Host(server, app_id)
    assert host.get().status_code == 404
    answer = deploy(server.admin, app_id, SITE)
    assert answer.status_code == 200
    assert answer.json() == {
        "message": f"frontend for '{app_id}' deployed", "url": f"http://{host.name}/", "version": 1
    }  # fmt: skip
    page = host.get()
    assert (page.status_code, page.text) == (200, PAGE.format(name="one"))
    assert trail(server, app_id).count("FRONTEND_DEPLOYED") == 1


def test_the_archive_may_be_the_body_itself(server: Server) -> None:
    app_id = install(server)
    path = f"/api/v1/apps/{app_id}/frontend"
    headers = {"content-type": "application/gzip"}
    answer = server.admin.post(path, content=targz(SITE), headers=headers)
    assert answer.status_code == 200, answer.text
    assert Host(server, app_id).get("/notes.txt").text == SITE["notes.txt"]


def test_an_archive_as_a_mac_packs_it(server: Server) -> None:
    app_id = install(server)
    files = {
        "dist/index.html": "one",
        "dist/cafe\u0301.txt": "an accent apart",
        "dist/.DS_Store": "x",
        "dist/._index.html": "x",
        "dist/.git/config": "x",
        "dist/.well-known/assetlinks.json": "[]",
        "__MACOSX/dist/._index.html": "x",
        "._dist": "x",
    }
    answer = deploy(server.admin, app_id, files)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()["ignored"]) == {
        "dist/.DS_Store", "dist/._index.html", "dist/.git/config", "._dist",
        "__MACOSX/dist/._index.html",
    }  # fmt: skip
    host = Host(server, app_id)
    assert host.get("/.well-known/assetlinks.json").text == "[]"
    assert host.get("/caf\u00e9.txt").text == "an accent apart"
    assert host.get("/.DS_Store").status_code == 404
    assert host.get("/.git/config").text == "one", "a place within the app"


@pytest.mark.parametrize("name", ["api", "_auth", "console", "health", "API", "health/x.txt"])
def test_names_of_the_server_are_refused(server: Server, name: str) -> None:
    app_id = install(server)
    answer = deploy(server.admin, app_id, {"index.html": "one", name: "x"})
    assert answer.status_code == 400
    assert name.partition("/")[0].lower() in answer.json()["error"]
    assert versions(server, app_id) == []


@pytest.mark.parametrize(
    "files",
    [
        {"page.html": "x"},
        {"a/index.html": "x", "b/index.html": "x"},
        {"dist/index.html": "x", "README.md": "x"},
        {"dist/inner/index.html": "x"},
        {},
    ],
    ids=["no index", "two folders", "a file beside the folder", "too deep", "nothing"],
)
def test_an_archive_without_a_first_page_is_refused(
    server: Server, files: Mapping[str, str]
) -> None:
    app_id = install(server)
    answer = deploy(server.admin, app_id, files)
    assert answer.status_code == 400
    assert "index.html" in answer.json()["error"]


def test_who_may_deploy(server: Server) -> None:
    app_id = install(server, dataContract=[{"entityName": "deals", "fields": []}])
    editor = server.user(permissions={app_id: ["deals.read"]})
    admin = server.user(roles={app_id: ["admin"]})
    assert deploy(editor, app_id, SITE).status_code == 403
    path = f"/api/v1/apps/{app_id}/frontend"
    assert server.http.post(path, content=b"x").status_code == 401
    assert deploy(admin, app_id, SITE).status_code == 200
    assert editor.get(f"{path}/versions").status_code == 403
    assert editor.post(f"{path}/rollback", json={}).status_code == 403
    assert editor.delete(path).status_code == 403
    assert versions(server, app_id)[0]["by"] == admin.id
    assert deploy(server.admin, "nothing", SITE).status_code == 404


@pytest.mark.parametrize(
    "attack",
    [
        "leaving by dots", "dots in the middle", "an absolute path", "backslashes",
        "a symbolic link", "a link that stays inside", "a hard link", "a device", "a pipe",
        "a sparse file", "the same file twice", "the same file in another case",
        "a path by pax", "a global path by pax", "a long name by GNU tar",
        "a name that is too long", "a pax header that is too large", "a negative size by pax",
        "a size of petabytes",
        "a size beyond the file", "a name that is not UTF-8", "a wrong checksum",
    ],
)  # fmt: skip
def test_hostile_archives_are_refused(server: Server, attack: str) -> None:
    host = hostile_host(server)
    data, _ = ATTACKS[attack]
    answer = deploy(
        server.admin, host.app_id, gzip.compress(entry("index.html", data=b"x") + data + END)
    )
    assert answer.status_code == 400, answer.text
    assert host.get().text == SITE["index.html"]
    assert [row["version"] for row in versions(server, host.app_id)] == [1]


def hostile_host(server: Server) -> Host:
    """An app with a frontend, one for all attacks: none of them changes it."""
    if "hostile" not in {app["id"] for app in server.admin.get("/api/v1/apps").json()}:
        install(server, "hostile")
        assert deploy(server.admin, "hostile", SITE).status_code == 200
    return Host(server, "hostile")


def test_bounds_of_archives(server: Server) -> None:
    host = hostile_host(server)
    zeros = gzip.compress(entry("index.html", data=b"x") + large_entry(210_000_000), 1)
    assert len(zeros) < 2_000_000
    answer = deploy(server.admin, host.app_id, zeros)
    assert (answer.status_code, "more than" in answer.json()["error"]) == (400, True)
    many = {f"{number}.txt": "" for number in range(10_001)}
    answer = deploy(server.admin, host.app_id, {"index.html": "x", **many})
    assert (answer.status_code, "10,000 files" in answer.json()["error"]) == (400, True)
    path = f"/api/v1/apps/{host.app_id}/frontend"
    headers = {"content-type": "application/gzip"}
    answer = server.admin.post(path, content=bytes(50_000_001), headers=headers)
    assert answer.status_code == 413
    assert host.get().text == SITE["index.html"]


def large_entry(size: int) -> bytes:
    """A file of zeros."""
    info = tarfile.TarInfo("film.mp4")
    info.size = size
    return info.tobuf() + bytes(size + 2048)


def test_a_broken_upload_changes_nothing(server: Server) -> None:
    host = deployed(server)
    path = f"/api/v1/apps/{host.app_id}/frontend"
    whole = targz({"index.html": "two"})
    headers = {"content-type": "application/gzip"}
    for content in (b"", b"x", whole[:-9], whole[: len(whole) // 2]):
        answer = server.admin.post(path, content=content, headers=headers)
        assert answer.status_code == 400, answer.text
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = server.admin.post(path, content=b"--x\r\n\r\n", headers=form)
    assert answer.status_code == 400
    assert server.admin.post(path, files={"archive": (None, "text")}).status_code == 400
    assert host.get().text == PAGE.format(name="one")
    assert [row["version"] for row in versions(server, host.app_id)] == [1]


# Versions


def test_the_last_five_versions_are_kept(server: Server) -> None:
    app_id = install(server)
    for number in range(1, 8):
        assert deploy(server.admin, app_id, {"index.html": f"page {number}"}).status_code == 200
    rows = versions(server, app_id)
    assert [row["version"] for row in rows] == [7, 6, 5, 4, 3]
    assert [row["current"] for row in rows] == [True, False, False, False, False]
    assert set(rows[0]) == {"version", "created_at", "by", "size", "current"}
    assert rows[0]["by"] == server.admin.id
    assert rows[0]["size"] > 0


def test_rollback(server: Server) -> None:
    app_id = install(server)
    host = Host(server, app_id)
    assert roll_back(server, app_id).status_code == 404
    for number in (1, 2, 3):
        deploy(server.admin, app_id, {"index.html": f"page {number}"})
    answer = roll_back(server, app_id)
    assert (answer.status_code, host.get().text) == (200, "page 2")
    assert "version 2" in answer.json()["message"]
    assert roll_back(server, app_id).status_code == 200
    assert host.get().text == "page 1"
    assert roll_back(server, app_id).status_code == 404, "there is no earlier one"
    assert roll_back(server, app_id, version=3).status_code == 200
    assert host.get().text == "page 3"
    assert roll_back(server, app_id, version=9).status_code == 404
    assert roll_back(server, app_id, version=0).status_code == 400
    assert roll_back(server, app_id, version="x").status_code == 400
    assert host.get().text == "page 3"
    assert [row["current"] for row in versions(server, app_id)] == [True, False, False]
    assert trail(server, app_id).count("FRONTEND_ROLLED_BACK") == 3


def test_a_version_in_service_is_never_deleted(server: Server) -> None:
    app_id = install(server)
    host = Host(server, app_id)
    for number in range(1, 6):
        deploy(server.admin, app_id, {"index.html": f"page {number}"})
    roll_back(server, app_id, version=1)
    assert host.get().text == "page 1"
    deploy(server.admin, app_id, {"index.html": "page 6"})
    assert host.get().text == "page 6"
    assert [row["version"] for row in versions(server, app_id)] == [6, 5, 4, 3, 2]


def test_delete(server: Server) -> None:
    host = deployed(server)
    path = f"/api/v1/apps/{host.app_id}/frontend"
    assert server.admin.delete(path).status_code == 200
    assert host.get().status_code == 404
    assert versions(server, host.app_id) == []
    assert server.admin.delete(path).status_code == 404
    assert roll_back(server, host.app_id, version=1).status_code == 404
    assert "FRONTEND_REMOVED" in trail(server, host.app_id)
    answer = deploy(server.admin, host.app_id, SITE)
    assert answer.json()["version"] == 2, "a number names one version for ever"


def test_gone_with_the_app(server: Server) -> None:
    host = deployed(server)
    assert host.get().status_code == 200
    assert server.admin.delete(f"/api/v1/apps/{host.app_id}").status_code == 200
    assert host.get().status_code == 404
    install(server, host.app_id)
    assert host.get().status_code == 404
    for table in ("apps", "versions", "chunks"):
        count = server.sql(
            f"select count(*) from caudex_frontends.{table} where app_id = %s", host.app_id
        )
        assert count == [(0,)]


def test_hashed_files_of_the_version_before_stay_for_a_day(server: Server) -> None:
    host = deployed(server)
    deploy(server.admin, host.app_id, {"index.html": "two", "assets/index-Xb9yPq2Z.js": "2"})
    assert host.get("/assets/index-Xb9yPq2Z.js").text == "2"
    former = host.get(HASHED)
    assert (former.status_code, former.text) == (200, SCRIPT)
    assert host.get("/notes.txt").status_code == 404, "its name has no hash"
    server.sql(
        "update caudex_frontends.versions set replaced_at = now() - interval '25 hours'"
        " where app_id = %s and version = 1",
        host.app_id,
    )
    roll_back(server, host.app_id, version=2)  # every server reads again
    assert host.get(HASHED).status_code == 404


# Files


def test_places_within_the_app_get_the_first_page(server: Server) -> None:
    host = deployed(server, {**SITE, "docs/index.html": "the docs"})
    for path in ("/", "/deals", "/deals/17", "/deals/17/", "/a%20b", "/%C3%A9", "/deals?x=1.js"):
        assert host.get(path).text == SITE["index.html"], path
    for path in ("/missing.js", "/deals/missing.css", "/assets/", "/x.html"):
        expected = 200 if path == "/assets/" else 404
        assert host.get(path).status_code == expected, path
    assert host.get("/docs/").text == "the docs"
    assert host.get("/index.html").status_code == 200


def test_paths_of_the_server_never_fall_back(server: Server) -> None:
    host = deployed(server)
    for path in ("/api/x", "/api", "/console/", "/console", "/_auth/nothing", "/health/x"):
        answer = host.get(path)
        assert answer.status_code in (401, 404), path
        assert answer.headers["content-type"] == "application/json"


def test_the_base_of_a_bundle(server: Server) -> None:
    host = deployed(server)
    base = f"/apps/{host.app_id}"
    assert host.get(f"{base}{HASHED}").text == SCRIPT
    for path in (base, f"{base}/", f"{base}/deals/1"):
        assert host.get(path).text == SITE["index.html"], path
    for path in ("/apps/other/", "/apps/other", f"/apps/other{HASHED}", "/apps/", "/apps"):
        assert host.get(path).status_code == 404, path
    assert host.get(f"{base}/console/").status_code == 404
    assert host.get(f"{base}/api/v1/nothing").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../index.html", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/a/..%5c..%5cx",
        "/assets/..%2findex.html", "/%00", "/index.html%00.js", "/..", "/a/../b",
        "/assets/../../x", "//etc/passwd.txt", "/..%252f..%252fetc/passwd.txt",
    ],
)  # fmt: skip
def test_path_tricks(server: Server, path: str) -> None:
    host = deployed(server)
    answer = raw_get(server, host.name, path)
    assert answer.split()[1] in (b"400", b"404"), answer[:300]


def test_odd_names_of_files(server: Server) -> None:
    names = {
        "a b.js": "/a%20b.js", "100%.txt": "/100%25.txt", "what?.txt": "/what%3F.txt",
        "a#b.txt": "/a%23b.txt", "a+b.txt": "/a+b.txt", "a%2fb.txt": "/a%252fb.txt",
        "\u65e5\u672c.txt": "/%E6%97%A5%E6%9C%AC.txt", "x/y..txt": "/x/y..txt", "~.txt": "/~.txt",
        "a;b.js": "/a;b.js", "CON.txt": "/CON.txt", "a&<b>'\".txt": "/a&%3Cb%3E'%22.txt",
    }  # fmt: skip
    host = deployed(server, {"index.html": "x", **{name: name for name in names}})
    for name, path in names.items():
        answer = raw_get(server, host.name, path)
        assert answer.split()[1] == b"200", path
        assert answer.endswith(name.encode()), path


def test_a_path_that_is_not_utf8_is_refused(server: Server) -> None:
    host = deployed(server)
    assert host.get("/%ff").status_code == 400
    assert host.get("/%ff.js").status_code == 400


def raw_get(server: Server, host: str, path: str) -> bytes:
    """Send a path as it is: clients tidy it up."""
    address = server.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), 10) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()
        )
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_tags_and_304(server: Server) -> None:
    host = deployed(server)
    plain = host.get(HASHED)
    tag = plain.headers["etag"]
    assert tag.startswith('"')
    again = host.get(HASHED, if_none_match=tag)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag
    for value in (f"W/{tag}", f'"x", {tag}', "*"):
        assert host.get(HASHED, if_none_match=value).status_code == 304
    assert host.get(HASHED, if_none_match='"x"').status_code == 200
    packed = host.get(HASHED, accept_encoding="gzip")
    assert packed.headers["etag"] != tag
    deploy(server.admin, host.app_id, {**SITE, "assets/index-DiwrgTda.js": "changed"})
    assert host.get(HASHED, if_none_match=tag).text == "changed"


@pytest.mark.parametrize(
    ("accepted", "sent"),
    [
        ("br, gzip", "br"), ("gzip, deflate", "gzip"), ("", None), ("identity", None),
        ("br;q=0, gzip", "gzip"), ("gzip;q=0.5, br;q=0.1", "br"), ("BR", "br"), ("deflate", None),
    ],
)  # fmt: skip
def test_compressed_at_the_deploy(server: Server, accepted: str, sent: str | None) -> None:
    host = deployed(server)
    answer = host.get(HASHED, accept_encoding=accepted)
    assert answer.headers.get("content-encoding") == sent
    assert answer.text == SCRIPT, "httpx unpacks it"
    assert answer.headers["vary"] == "Accept-Encoding"
    if sent:
        assert int(answer.headers["content-length"]) < len(SCRIPT) / 10
    picture = host.get("/logo.png", accept_encoding=accepted)
    assert "content-encoding" not in picture.headers
    assert "vary" not in picture.headers


def test_ranges(server: Server) -> None:
    host = deployed(server)
    content = SITE["logo.png"]
    size = len(content)
    cases = {
        "bytes=0-9": (206, content[:10], f"bytes 0-9/{size}"),
        "bytes=10-": (206, content[10:], f"bytes 10-{size - 1}/{size}"),
        "bytes=-5": (206, content[-5:], f"bytes {size - 5}-{size - 1}/{size}"),
        f"bytes=0-{size * 2}": (206, content, f"bytes 0-{size - 1}/{size}"),
        f"bytes={size}-": (416, b"", f"bytes */{size}"),
        "bytes=-0": (416, b"", f"bytes */{size}"),
        "bytes=5-2": (200, content, None),
        "bytes=0-1,4-5": (200, content, None),
        "pages=1-2": (200, content, None),
        "bytes=-": (200, content, None),
    }
    for header, (status, expected, where) in cases.items():
        answer = host.get("/logo.png", range=header)
        found = (answer.status_code, answer.content, answer.headers.get("content-range"))
        assert found == (status, expected, where), header
    tag = host.get("/logo.png").headers["etag"]
    assert host.get("/logo.png", range="bytes=0-9", if_range=tag).status_code == 206
    assert host.get("/logo.png", range="bytes=0-9", if_range='"old"').status_code == 200
    packed = host.get(HASHED, accept_encoding="br", range="bytes=0-9")
    assert (packed.status_code, packed.text) == (206, SCRIPT[:10])
    assert "content-encoding" not in packed.headers


def test_head_and_other_methods(server: Server) -> None:
    host = deployed(server)
    head = host.request("HEAD", HASHED, accept_encoding="identity")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(SCRIPT))
    assert head.headers["etag"] == host.get(HASHED).headers["etag"]
    assert host.request("HEAD", "/missing.js").status_code == 404
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = host.request(method, "/")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert host.request("OPTIONS", "/").status_code == 204


def test_large_files_are_sent_in_pieces(server: Server) -> None:
    content = bytes(range(256)) * 12_000
    host = deployed(server, {"index.html": "x", "film.mp4": content})
    assert host.get("/film.mp4").content == content
    part = host.get("/film.mp4", range="bytes=1000000-2500000")
    assert (part.status_code, part.content) == (206, content[1_000_000:2_500_001])
    head = host.request("HEAD", "/film.mp4")
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")


def test_what_browsers_keep(server: Server) -> None:
    host = deployed(server)
    assert host.get(HASHED).headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/", "/deals/1", "/notes.txt", "/logo.png"):
        assert host.get(path).headers["cache-control"] == "no-cache", path
    assert host.get("/missing.js").headers["cache-control"] == "no-store"


# Headers


def test_headers_of_pages(server: Server) -> None:
    host = deployed(server)
    for path in ("/", HASHED, "/logo.png"):
        headers = host.get(path).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "service-worker-allowed" not in headers
    assert host.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert host.get(HASHED).headers["content-type"] == "text/javascript; charset=utf-8"


def test_every_host_keeps_its_windows_and_resources_apart(server: Server) -> None:
    for path in ("/health", "/console/", "/api/v1/apps", "/nothing"):
        answer = server.http.get(path)
        for name in ("cross-origin-opener-policy", "cross-origin-resource-policy"):
            assert answer.headers.get_list(name) == ["same-origin"], (path, name)


def test_the_cookie_of_the_installation(server: Server) -> None:
    host = deployed(server)
    first = host.get("/")
    cookie = first.headers["set-cookie"]
    pair = cookie.partition(";")[0]
    assert "HttpOnly" in cookie
    assert "Domain" not in cookie
    assert "clear-site-data" not in first.headers
    again = host.get("/deals", cookie=f"a=b; {pair}")
    assert "set-cookie" not in again.headers
    assert "set-cookie" not in host.get("/logo.png").headers
    other = host.get("/", cookie=f"{pair}9")
    assert other.headers["clear-site-data"] == '"cache", "storage"'
    assert other.headers["set-cookie"].startswith(pair)
    assert "clear-site-data" not in host.get("/logo.png", cookie=f"{pair}9").headers


def test_another_app_at_the_same_host_clears_what_the_former_left(server: Server) -> None:
    host = deployed(server)
    pair = host.get("/").headers["set-cookie"].partition(";")[0]
    server.admin.delete(f"/api/v1/apps/{host.app_id}")
    gone = host.get("/", cookie=pair)
    assert (gone.status_code, gone.headers["clear-site-data"]) == (404, '"cache", "storage"')
    install(server, host.app_id)
    assert "clear-site-data" in host.get("/logo.png", cookie=pair).headers
    deploy(server.admin, host.app_id, SITE)
    page = host.get("/", cookie=pair)
    assert page.headers["clear-site-data"] == '"cache", "storage"'
    fresh = page.headers["set-cookie"].partition(";")[0]
    assert "clear-site-data" not in host.get("/", cookie=fresh).headers


# Hosts


def test_the_server_leads_to_the_host_of_an_app(server: Server) -> None:
    host = deployed(server)
    base = f"/apps/{host.app_id}"
    cases = {
        base: "/", f"{base}/": "/", f"{base}/deals/1?a=b&c=%2f": "/deals/1?a=b&c=%2f",
        f"{base}//evil.example/x": "//evil.example/x", f"{base}/a%2Fb": "/a%2Fb",
        f"{base}?x=1": "/?x=1",
    }  # fmt: skip
    for path, rest in cases.items():
        answer = server.http.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (
            307,
            f"http://{host.name}{rest}",
        )
    assert server.http.get("/apps/nothing/").status_code == 404
    assert server.http.get("/apps/").status_code == 404


def test_hosts_are_compared_without_case_dot_and_port(server: Server) -> None:
    host = deployed(server)
    name = host.name.partition(":")[0]
    for spelling in (name, name.upper(), f"{name}.", f"{name}:1", f"{name.title()}.:80"):
        answer = server.http.get("/", headers={"host": spelling})
        assert answer.text == SITE["index.html"], spelling


def test_a_host_without_a_frontend_is_not_found(server: Server) -> None:
    app_id = install(server)
    for name in (f"{app_id}.localhost", "nothing.localhost"):
        for path in ("/", "/health", "/health/ready", "/api/v1/auth/mode", "/console/", "/x.js"):
            answer = server.http.get(path, headers={"host": name})
            assert answer.status_code == 404, path
            assert answer.headers["clear-site-data"] == '"cache", "storage"'


def test_other_names_are_refused(server: Server) -> None:
    deployed(server)
    for name in ("evil.example", "a.b.localhost", "-x.localhost", "1x.localhost"):
        answer = server.http.get("/", headers={"host": name})
        assert answer.status_code == 400, name


def test_underscores_are_hyphens(server: Server) -> None:
    app_id = install(server, "task_manager_2")
    answer = deploy(server.admin, app_id, SITE)
    assert answer.json()["url"].startswith("http://task-manager-2.localhost:")
    assert Host(server, app_id).get().status_code == 200
    under = server.http.get("/", headers={"host": "task_manager_2.localhost"})
    assert under.status_code == 400


def test_an_id_without_a_label_has_no_host_by_itself(server: Server) -> None:
    for app_id in ("odd_", "xn__app"):
        install(server, app_id)
        answer = deploy(server.admin, app_id, SITE)
        assert (answer.status_code, answer.json()["url"]) == (200, None)
        answer = server.http.get(f"/apps/{app_id}/")
        assert answer.status_code == 404
        assert "hosts" in answer.json()["error"]


def test_lists_show_where_apps_are(server: Server) -> None:
    host = deployed(server, icon="briefcase", type="integration")
    plain = install(server)
    apps = {app["id"]: app for app in server.admin.get("/api/v1/apps").json()}
    shown = {key: apps[host.app_id][key] for key in ("hasFrontend", "url", "type", "icon")}
    url = f"http://{host.name}/"
    assert shown == {"hasFrontend": True, "url": url, "type": "integration", "icon": "briefcase"}
    shown = {key: apps[plain][key] for key in ("hasFrontend", "url", "type", "icon")}
    assert shown == {"hasFrontend": False, "url": None, "type": "app", "icon": None}
    one = server.admin.get(f"/api/v1/apps/{host.app_id}").json()
    assert (one["hasFrontend"], one["url"], one["icon"]) == (True, url, "briefcase")
