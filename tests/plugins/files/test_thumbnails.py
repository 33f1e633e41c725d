"""Small pictures of images."""

import io

import pytest

from kernel.public import Thumbnail
from kernel.testing import running_server
from plugins.files.downloads.thumbnails import ThumbnailCache

from .support import CONTRACT, FILES, PDF, manifest, refused, upload

Image = pytest.importorskip("PIL.Image")


def picture(size=(400, 200), kind="PNG"):
    image = io.BytesIO()
    Image.new("RGB", size, "red").save(image, kind)
    return image.getvalue()


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {"plugins": {"thumbnails": {}}}) as running:
        running.install(manifest(CONTRACT))
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_fits_the_box_and_is_known_by_its_tag(server, kind):
    admin = server.admin
    file = upload(admin, picture(kind=kind), f"a.{kind.lower()}")
    path = f"{FILES}/{file['id']}?thumb=100x100"
    answer = admin.get(path)
    assert answer.status_code == 200, answer.text
    assert Image.open(io.BytesIO(answer.content)).size == (100, 50)
    assert answer.headers["content-type"] in ("image/jpeg", "image/png")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    etag = answer.headers["etag"]
    assert admin.get(path, headers={"if-none-match": etag}).status_code == 304
    assert admin.get(path).content == answer.content
    assert admin.head(path).headers["content-length"] == str(len(answer.content))
    whole = admin.get(f"{FILES}/{file['id']}")
    assert whole.headers["etag"] != etag


@pytest.mark.parametrize("box", ["", "100", "0x10", "10x4000", "axb", "1x2x3", "-1x5"])
def test_a_wrong_box_is_refused(server, box):
    file = upload(server.admin, picture(), "a.png")
    refused(server.admin.get(f"{FILES}/{file['id']}", params={"thumb": box}), 400, "thumb")


def test_other_files_have_no_picture(server):
    file = upload(server.admin, PDF)
    refused(server.admin.get(f"{FILES}/{file['id']}?thumb=9x9"), 400, "application/pdf")


def test_without_the_plugin_it_is_said(postgres):
    with running_server(postgres, {}) as plain:
        plain.install(manifest(CONTRACT))
        file = upload(plain.admin, picture(), "a.png")
        refused(plain.admin.get(f"{FILES}/{file['id']}?thumb=9x9"), 400, "thumbnails is off")


def test_the_cache_keeps_the_last_ones_within_its_bytes():
    cache = ThumbnailCache(max_bytes=25)
    for number in range(3):
        cache.keep(("a", number, 1), Thumbnail(bytes(10), "image/png"))
        cache.find(("a", 0, 1))
    assert cache.find(("a", 0, 1)) is not None
    assert cache.find(("a", 1, 1)) is None
    assert cache.find(("a", 2, 1)) is not None
    cache.keep(("a", 2, 1), Thumbnail(bytes(20), "image/png"))
    assert cache.find(("a", 0, 1)) is None
    cache.keep(("b", 1, 1), Thumbnail(bytes(30), "image/png"))
    assert cache.find(("b", 1, 1)) is None
