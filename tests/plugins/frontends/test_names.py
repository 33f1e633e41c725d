"""What the name of a file says."""

import pytest

from plugins.frontends.bundles.names import find_type, has_hash, is_compressible, is_left_out

HASHED = [
    "assets/index-DiwrgTda.js", "assets/index-D_wr-Tda.js", "assets/my-page-DiwrgTda.css",
    "main.3f2a9c1b.js", "static/js/main.3f2a9c1b.chunk.js", "main.0a1b2c3d4e5f6789.js.map",
    "runtime-5QXPJ2AB.js", "logo-Cx9_t3Zq.svg", "a.d41d8cd98f00b204e9800998ecf8427e.woff2",
]  # fmt: skip
PLAIN = [
    "index.html", "app.js", "jquery-migrate.js", "my-component.js", "report-20240101.pdf",
    "report.20240101.pdf", "logo-dark2024.png", "jquery-3.7.1.min.js", "LICENSE-APACHE.txt",
    "vendor-bootstrap.bundle.css", "DiwrgTda", "assets/DiwrgTda/index.js", "favicon-32x32.png",
    "x-Dark.png", "translations-portuguese.json", "service-worker.js",
]  # fmt: skip


@pytest.mark.parametrize("path", HASHED)
def test_names_that_bundlers_write_have_a_hash(path: str) -> None:
    assert has_hash(path)


@pytest.mark.parametrize("path", PLAIN)
def test_names_that_people_write_have_none(path: str) -> None:
    assert not has_hash(path)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("a/INDEX.HTML", "text/html; charset=utf-8"), ("x.mjs", "text/javascript; charset=utf-8"),
        ("x.wasm", "application/wasm"), ("x.woff2", "font/woff2"),
        ("x", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"), ("app.webmanifest", "application/manifest+json"),
        ("x.svg", "image/svg+xml"), (".well-known/apple-app-site", "application/octet-stream"),
    ],
)  # fmt: skip
def test_types(path: str, media_type: str) -> None:
    assert find_type(path) == media_type


def test_what_is_compressed() -> None:
    for path in ("x.js", "x.html", "x.svg", "x.json", "x.wasm", "x.ttf", "x.txt", "x.map"):
        assert is_compressible(find_type(path)), path
    for path in ("x.png", "x.woff2", "x.mp4", "x.jpg", "x.zip", "x.pdf", "x"):
        assert not is_compressible(find_type(path)), path


def test_what_is_left_out() -> None:
    for name in ("__MACOSX", "._x", ".DS_Store", ".git", ".env", ".htaccess"):
        assert is_left_out([name]), name
    for name in (".well-known", "_redirects", "index.html", "x.DS_Store"):
        assert not is_left_out([name]), name
