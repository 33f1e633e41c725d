"""Pictures of images that are fine, broken, or made to hurt."""

import io
import struct
import zlib

import anyio
import pytest
from PIL import Image

from contrib.thumbnails.config import ThumbnailsConfig
from contrib.thumbnails.service import ThumbnailService
from kernel.public import THUMBNAILS, BadRequest, Unavailable
from kernel.testing import running_server


async def cut(content):
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]


def make(content, width=100, height=100, **settings):
    service = ThumbnailService(ThumbnailsConfig(**settings))

    async def run():
        return await service.make_thumbnail(cut(content), width, height)

    return anyio.run(run)


def packed(image, kind, **options):
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def opened(thumbnail):
    return Image.open(io.BytesIO(thumbnail.content))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_each_kind_of_image_becomes_a_small_picture(kind):
    thumbnail = make(packed(Image.new("RGB", (800, 400), (200, 10, 10)), kind))
    assert thumbnail.media_type == "image/jpeg"
    picture = opened(thumbnail)
    assert picture.size == (100, 50)
    red, green, blue = picture.convert("RGB").getpixel((50, 25))
    assert red > 150
    assert max(green, blue) < 60


def test_clear_parts_stay_clear():
    thumbnail = make(packed(Image.new("RGBA", (300, 300), (0, 0, 0, 0)), "PNG"))
    assert thumbnail.media_type == "image/png"
    assert opened(thumbnail).getpixel((5, 5))[3] == 0


def test_a_small_image_is_not_enlarged_and_metadata_is_left_out():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x010E] = "where I live"
    thumbnail = make(packed(Image.new("RGB", (40, 20)), "JPEG", exif=exif))
    assert opened(thumbnail).size == (20, 40)
    assert b"where I live" not in thumbnail.content


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, data=b""):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


GOOD = packed(Image.new("RGB", (500, 500), (1, 2, 3)), "PNG")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "no PNG, JPEG, WebP or GIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG"),
        (packed(Image.new("RGB", (10, 10)), "TIFF"), "no PNG"),
        (GOOD[:-300], "broken"),
        (png(500, 500, zlib.compress(b"too little")), "broken"),
        (png(10_000, 10_000), "10000x10000 pixels: at most 50 megapixels"),
        (png(2**31 - 1, 2**31 - 1), r"megapixels|no PNG"),
        (packed(Image.new("L", (10_000, 10_000)), "GIF"), "at most 50 megapixels"),
    ],
)
def test_what_is_no_image_broken_or_a_bomb_is_refused(content, word):
    with pytest.raises(BadRequest, match=word):
        make(content)


def test_a_file_over_its_limit_is_refused():
    with pytest.raises(BadRequest, match="over 1 MB"):
        make(bytes(2**20 + 1), max_mb=1)


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (-5, 5), (2049, 1), (1, 10**9)])
def test_sizes_have_bounds(width, height):
    with pytest.raises(BadRequest, match="1 to 2048"):
        make(GOOD, width, height)


@pytest.mark.slow
def test_an_image_that_needs_more_memory_than_allowed_is_refused():
    content = packed(Image.new("RGB", (9000, 9000)), "PNG")
    with pytest.raises(BadRequest, match=r"memory|broken|decoded"):
        make(content, max_megapixels=100, memory_mb=160)


def test_an_image_that_takes_too_long_is_refused(monkeypatch, tmp_path):
    slow = tmp_path / "child.py"
    slow.write_text("import time, sys; sys.stdin.buffer.read(); time.sleep(60)")
    monkeypatch.setattr("contrib.thumbnails.service.CHILD", slow)
    with pytest.raises(BadRequest, match="too long"):
        make(GOOD, timeout=0.5)


def test_a_process_that_dies_is_a_refusal(monkeypatch, tmp_path):
    dead = tmp_path / "child.py"
    dead.write_text("import os; os.abort()")
    monkeypatch.setattr("contrib.thumbnails.service.CHILD", dead)
    with pytest.raises(BadRequest, match="cannot be decoded"):
        make(GOOD)


def test_only_so_many_are_made_at_once(monkeypatch):
    service = ThumbnailService(ThumbnailsConfig(at_once=2))
    running = 0
    most = 0

    async def run(content, width, height):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(0.01)
        running -= 1
        return 0, b"image/png\nx"

    monkeypatch.setattr(service, "_run", run)

    async def many(count):
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(service.make_thumbnail, cut(b"x"), 10, 10)

    anyio.run(many, 30)
    assert most == 2
    with pytest.raises(ExceptionGroup) as raised:
        anyio.run(many, 60)
    assert raised.group_contains(Unavailable, match="too many thumbnails")


def test_a_server_provides_it_where_it_is_named(postgres):
    with running_server(postgres, {"plugins": {"thumbnails": {}}}) as server:
        service = server.services.get(THUMBNAILS)

        async def run():
            return await service.make_thumbnail(cut(GOOD), 10, 10)

        assert opened(server.run(run)).size == (10, 10)
