"""Forms with files, as they arrive: in any pieces, broken, endless, and with odd names."""

import asyncio
import os

import pytest

from kernel.public import BadRequest, FormLimits, FormReader

KIND = "multipart/form-data; boundary=b"
LIMITS = FormLimits()


def part(headers: str, content: bytes) -> bytes:
    return b"--b\r\n" + headers.replace("\n", "\r\n").encode() + b"\r\n\r\n" + content + b"\r\n"


def file(name: str, content: bytes, file_name: str = "a.bin", kind: str = "text/plain") -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"'
    return part(f"{disposition}\nContent-Type: {kind}", content)


def field(name: str, text: str) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', text.encode())


END = b"--b--\r\n"


async def cut(body: bytes, size: int):
    for start in range(0, len(body), size):
        yield body[start : start + size]


def read(body: bytes, size: int = 7, kind: str | None = KIND, limits: FormLimits = LIMITS):
    """Everything of a form, as (name, file name, kind, content)."""

    async def run():
        found = []
        async for item in FormReader(kind, cut(body, size), limits):
            content = b"".join([piece async for piece in item])
            found.append((item.name, item.file_name, item.media_type, content))
        return found

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 2, 7, 64, 100_000])
def test_parts_arrive_as_they_were_however_the_body_is_cut(size):
    odd = b"\r\n--a\r\n-\r\r\n--\n" + os.urandom(500) + b"\r\n--"
    body = field("note", "hé") + file("archive", odd) + file("empty", b"") + END + b"epilogue"
    assert read(body, size) == [
        ("note", None, "", "hé".encode()),
        ("archive", "a.bin", "text/plain", odd),
        ("empty", "a.bin", "text/plain", b""),
    ]


def test_what_is_not_read_is_skipped_and_the_body_is_read_to_its_end():
    body = file("a", b"x" * 5000) + field("b", "text") + END + b"epilogue" * 100

    async def run():
        pieces = cut(body, 100)
        names = [item.name async for item in FormReader(KIND, pieces, LIMITS)]
        return names, [piece async for piece in pieces]

    assert asyncio.run(run()) == (["a", "b"], [])


def test_content_full_of_line_breaks_comes_in_few_pieces():
    async def run():
        form = FormReader(KIND, cut(file("a", b"\r\n" * 30_000) + END, 60_000), LIMITS)
        async for item in form:
            return [len(piece) async for piece in item]

    sizes = asyncio.run(run())
    assert sum(sizes) == 60_000
    assert len(sizes) <= 4


def test_text_is_bounded_and_utf_8():
    async def text(body, limits=LIMITS):
        async for item in FormReader(KIND, cut(body, 50), limits):
            return await item.read_text()

    assert asyncio.run(text(field("a", "hé") + END)) == "hé"
    with pytest.raises(BadRequest, match="'a' is over the limit of 10 bytes"):
        asyncio.run(text(field("a", "x" * 11) + END, FormLimits(text_bytes=10)))
    with pytest.raises(BadRequest, match="UTF-8"):
        asyncio.run(text(part('Content-Disposition: form-data; name="a"', b"\xff") + END))


def test_a_part_is_saved_and_never_over_a_file(tmp_path):
    content = os.urandom(3_000_000)

    async def save():
        async for item in FormReader(KIND, cut(file("a", content) + END, 65_536), LIMITS):
            return await item.save(tmp_path / "saved")

    assert asyncio.run(save()) == 3_000_000
    assert (tmp_path / "saved").read_bytes() == content
    with pytest.raises(FileExistsError):
        asyncio.run(save())


WHOLE = file("a", b"content") + END


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "cut off"),
        (WHOLE[:-8], "cut off"),
        (WHOLE[:40], "cut off"),
        (b"no form at all", "broken"),
        (part("Content-Type: text/plain", b"x") + END, "no name"),
        (part("\0", b"x") + END, "broken"),
        (field("a", "x") * 17 + END, "more than 16 parts"),
        (part("x: " + "y" * 5000, b"x") + END, "broken"),
        (part("\n".join(f"x{n}: y" for n in range(20)), b"x") + END, "broken"),
    ],
)
def test_a_form_that_is_broken_or_too_much_is_refused(body, word):
    with pytest.raises(BadRequest, match=word):
        read(body)


@pytest.mark.parametrize(
    "kind", [None, "", "application/json", "multipart/form-data", KIND + "x" * 999]
)
def test_what_is_no_form_is_refused(kind):
    with pytest.raises(BadRequest, match="multipart"):
        read(WHOLE, kind=kind)
