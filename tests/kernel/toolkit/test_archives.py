"""Archives that mean no good, and some that only look odd."""

import gzip
import io
import os
import random
import tarfile
import time
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.public import ArchiveRules, BadRequest, is_junk, unpack_tar, unpack_zip
from kernel.toolkit.uploads import zips
from tests.plugins.workers.support import tar, targz

RULES = ArchiveRules(reserved=frozenset({".caudex"}))


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **more) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def raw(name: str, kind: bytes = b"0", size: bytes = b"00000000000\0") -> bytes:
    """A header written by hand, with a checksum that is right."""
    block = bytearray(512)
    block[0 : len(name)] = name.encode("latin-1")
    block[100:108] = b"0000644\0"
    block[124:136] = size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: dict[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    data = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        length = len(body) + len(str(len(body)))
        length = len(body) + len(str(length))
        data += str(length).encode() + body
    return entry("pax", kind, data)


END = bytes(1024)


def refused(
    tmp_path: Path, data: bytes, word: str, rules: ArchiveRules = RULES, unpack=unpack_tar
) -> None:
    file, folder = tmp_path / "archive", tmp_path / "out"
    file.write_bytes(data)
    folder.mkdir()
    with pytest.raises(BadRequest, match=word):
        unpack(file, folder, rules)
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside == {"archive", "out"}, "something was written outside"


def unpacked(tmp_path: Path, data: bytes, unpack=unpack_tar) -> dict[str, bytes]:
    file, folder = tmp_path / "archive", tmp_path / "out"
    file.write_bytes(data)
    folder.mkdir()
    unpack(file, folder, RULES)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


ATTACKS = {
    "leaving by dots": (entry("../evil", data=b"x"), "lead out"),
    "dots in the middle": (entry("a/../../evil", data=b"x"), "lead out"),
    "an absolute path": (entry("/etc/evil", data=b"x"), "relative"),
    "backslashes": (entry("..\\evil", data=b"x"), "plain slashes"),
    "a drive": (entry("C:\\evil", data=b"x"), "plain slashes"),
    "a line break in a name": (entry("a\nb", data=b"x"), "control"),
    "a direction mark in a name": (entry("a\u202etxt", data=b"x"), "control"),
    "a symbolic link": (entry("a", tarfile.SYMTYPE, linkname="/etc/passwd"), "only files"),
    "a link that stays inside": (entry("a", tarfile.SYMTYPE, linkname="b"), "only files"),
    "a hard link": (entry("a", tarfile.LNKTYPE, linkname="/etc/passwd"), "only files"),
    "a device": (entry("a", tarfile.CHRTYPE), "only files"),
    "a block device": (entry("a", tarfile.BLKTYPE), "only files"),
    "a pipe": (entry("a", tarfile.FIFOTYPE), "only files"),
    "an unknown kind": (raw("a", b"V"), "only files"),
    "a sparse file": (raw("a", b"S"), "only files"),
    "a sparse file in pax": (pax({"GNU.sparse.map": "0,1"}) + entry("a", data=b"x"), "sparse"),
    "the same file twice": (entry("a", data=b"1") + entry("a", data=b"2"), "twice"),
    "the same file in another case": (entry("a", data=b"1") + entry("A", data=b"2"), "twice"),
    "the same name in another form": (entry("\u00e9") + entry("e\u0301"), "twice"),
    "a file as a folder": (entry("a", data=b"1") + entry("a/b", data=b"2"), "twice"),
    "a folder as a file": (entry("a/b", data=b"1") + entry("a", data=b"2"), "twice"),
    "a folder in another case": (entry("a/b", data=b"1") + entry("A/c", data=b"2"), "twice"),
    "our own folder": (entry(".caudex/packages/json.py", data=b"x"), "server's own"),
    "our own folder in capitals": (entry("./.Caudex/x", data=b"x"), "server's own"),
    "a path by pax": (pax({"path": "../evil"}) + entry("a", data=b"x"), "lead out"),
    "a global path by pax": (
        pax({"path": "/evil"}, tarfile.XGLTYPE) + entry("a", data=b"x"),
        "relative",
    ),
    "a long name by GNU tar": (
        entry("././@LongLink", tarfile.GNUTYPE_LONGNAME, b"../" * 60 + b"evil\0") + entry("a"),
        "lead out",
    ),
    "a name that is too long": (entry("n" * 300, data=b"x"), "too long"),
    "a path that is too deep": (entry("d/" * 40 + "f", data=b"x"), "too deep"),
    "a path of many bytes": (entry("/".join(["d" * 200] * 6), data=b"x"), "1024 bytes"),
    "a pax header that is too large": (pax({"comment": "x" * 70_000}), "too large"),
    "a pax header with a false length": (
        entry("pax", tarfile.XHDTYPE, b"99 path=x\n"),
        "cannot be read",
    ),
    "a pax header without a length": (entry("pax", tarfile.XHDTYPE, b"path=x\n"), "cannot be read"),
    "a pax header of nothing": (entry("pax", tarfile.XHDTYPE, b"0 =\n"), "cannot be read"),
    "a negative size by pax": (pax({"size": "-5"}) + entry("a"), "proper size"),
    "a negative size in base 256": (raw("a", size=b"\xff" * 12), "negative|not a whole"),
    "a size beyond the limit": (raw("a", size=b"77777777777\0"), "more than 512 MB"),
    "a size of petabytes": (raw("a", size=b"\x80" + b"\0" * 4 + b"\x7f" * 7), "more than 512 MB"),
    "a size beyond the file": (raw("a", size=b"00000010000\0"), "not a whole"),
    "a size that is no number": (raw("a", size=b"zzzzzzzzzzz\0"), "not a whole"),
    "a name that is not UTF-8": (raw("\xff\xfe"), "not UTF-8"),
    "a wrong checksum": (b"x" + raw("a")[1:], "not a whole"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_that_means_no_good_is_refused(attack: str, tmp_path: Path):
    data, word = ATTACKS[attack]
    refused(tmp_path, gzip.compress(data + END), word)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage" * 100,
        tar({"worker.py": "x"}),
        targz({"worker.py": "x"})[:-20],
        targz({"worker.py": "x" * 5000})[:40],
        gzip.compress(entry("a", data=b"x")),
        targz({"worker.py": "x"}) + b"and then some",
        gzip.compress(b"no tar at all" * 1000),
        gzip.compress(b""),
    ],
    ids=[
        "nothing", "garbage", "not packed", "cut", "cut early", "no end", "more after it",
        "no tar", "empty",
    ],
)  # fmt: skip
def test_what_is_no_whole_archive_is_refused(data: bytes, tmp_path: Path):
    refused(tmp_path, data, "not a whole tar.gz")


def test_a_flipped_bit_is_noticed(tmp_path: Path):
    data = bytearray(targz({"worker.py": os.urandom(5000)}))
    data[2000] ^= 1
    refused(tmp_path, bytes(data), "the archive")


@pytest.mark.slow
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path):
    packer = zlib.compressobj(9, wbits=31)
    data = packer.compress(raw("a", size=b"04000000001\0"))
    data += b"".join(packer.compress(bytes(2**20)) for _ in range(512))
    refused(tmp_path, data + packer.flush(), "more than 512 MB")


SMALL = ArchiveRules(max_bytes=1000)
FEW = ArchiveRules(max_entries=10)


@pytest.mark.parametrize("name", ["f{}", "d{}/._f", "__MACOSX/{}"])
def test_many_small_files_are_counted_together_and_skipped_ones_as_well(name: str, tmp_path: Path):
    refused(tmp_path, targz({name.format(n): "x" * 300 for n in range(4)}), "more than", SMALL)


def test_the_stream_itself_has_a_limit(tmp_path: Path):
    rules = ArchiveRules(max_bytes=1000, max_entries=1)
    refused(tmp_path, gzip.compress(pax({"comment": "x"}) * 1000 + END), "more than", rules)


def test_entries_are_counted(tmp_path: Path):
    refused(tmp_path, targz({f"f{n}": "" for n in range(11)}), "more than 10", FEW)


def test_folders_that_are_only_implied_are_counted_too(tmp_path: Path):
    refused(tmp_path, targz({"a/b/c/d/e/f": "", "g/h/i/j/k": ""}), "more than 10", FEW)


def test_unpacking_has_a_deadline(tmp_path: Path):
    refused(tmp_path, targz({"a": "x"}), "too long", ArchiveRules(seconds=-1))


def test_what_was_unpacked_and_what_was_left_out_is_reported(tmp_path: Path):
    files = {
        "a/b.txt": "12",
        "c": "345",
        "a/.DS_Store": "x",
        "__MACOSX/a/._b.txt": "y",
        ".env": "z",
    }
    (tmp_path / "archive").write_bytes(targz(files))
    (tmp_path / "out").mkdir()
    rules = ArchiveRules(leave_out=lambda parts: is_junk(parts) or parts[-1].startswith("."))
    outcome = unpack_tar(tmp_path / "archive", tmp_path / "out", rules)
    assert (outcome.files, outcome.size) == (2, 5)
    assert outcome.ignored == ("a/.DS_Store", "__MACOSX/a/._b.txt", ".env")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["a", "b.txt", "c"]


def test_plain_files_arrive_as_they_were(tmp_path: Path):
    files = {"worker.py": b"x = 1\n", "lib/deep/er.txt": os.urandom(300_000), "empty": b""}
    assert unpacked(tmp_path, targz(files)) == files


def test_dot_prefixes_and_files_of_macos_are_fine(tmp_path: Path):
    files = {
        "./worker.py": "1",
        "./._worker.py": "junk",
        "./lib//./a.py": "2",
        "lib/._a.py": "junk",
    }
    data = entry("./", tarfile.DIRTYPE) + tar(files)
    assert unpacked(tmp_path, gzip.compress(data)) == {"worker.py": b"1", "lib/a.py": b"2"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_form_of_tar_can_be_read(form: int, tmp_path: Path):
    made = io.BytesIO()
    name = "a-folder-with-a-long-name/" * 4 + ("f" * 80 if form else "file")
    accent = "" if form == tarfile.USTAR_FORMAT else "é"
    with tarfile.open(fileobj=made, mode="w:gz", format=form) as packed:
        info = tarfile.TarInfo(name + accent)
        info.size = 3
        packed.addfile(info, io.BytesIO(b"abc"))
        folder = tarfile.TarInfo("empty")
        folder.type = tarfile.DIRTYPE
        packed.addfile(folder)
    assert unpacked(tmp_path, made.getvalue()) == {name + accent: b"abc"}
    assert (tmp_path / "out" / "empty").is_dir()


def test_modes_are_plain_whatever_the_archive_says(tmp_path: Path):
    data = entry("script", data=b"x", mode=0o6755) + entry("text", data=b"x", mode=0o4600)
    unpacked(tmp_path, gzip.compress(data + END))
    out = tmp_path / "out"
    assert (out / "script").stat().st_mode & 0o7777 == 0o755
    assert (out / "text").stat().st_mode & 0o7777 == 0o644


def test_a_link_that_is_there_already_is_not_followed(tmp_path: Path):
    file, folder, outside = tmp_path / "archive", tmp_path / "out", tmp_path / "outside"
    file.write_bytes(targz({"lib/x": "1"}))
    folder.mkdir()
    outside.mkdir()
    (folder / "lib").symlink_to(outside)
    with pytest.raises(OSError, match="lib"):
        unpack_tar(file, folder, RULES)
    assert not list(outside.iterdir())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 30))
def test_broken_headers_never_do_anything_but_unpack_or_refuse(tmp_path_factory, seed, flips):
    chance = random.Random(seed)
    data = bytearray(pax({"path": "other"}) + tar({"a/b": "x" * 600, "c": "y"}))
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.randrange(256)
    folder = tmp_path_factory.mktemp("fuzz")
    file, out = folder / "archive", folder / "out"
    file.write_bytes(gzip.compress(bytes(data)))
    out.mkdir()
    with suppress(BadRequest):
        unpack_tar(file, out, RULES)
    assert {path.name for path in folder.iterdir()} == {"archive", "out"}


def test_a_header_that_is_slow_to_search_does_not_stop_the_server(tmp_path: Path):
    """64 kB of digits take `tarfile` of Python 3.11.7 thirteen seconds (CVE-2024-6232)."""
    data = gzip.compress(entry("pax", tarfile.XHDTYPE, b"1" * 65_536) + entry("a") + END)
    began = time.process_time()
    refused(tmp_path, data, "cannot be read")
    assert time.process_time() - began < 2


# Zip files


def zipped(files: dict[str, bytes], **more) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in more.items():
                setattr(info, key, value)
            packed.writestr(info, data)
    return made.getvalue()


def link(target: bytes) -> bytes:
    return zipped({"a": target}, external_attr=0o120777 << 16)


ZIP_ATTACKS = {
    "leaving by dots": (zipped({"../evil": b"x"}), "lead out"),
    "an absolute path": (zipped({"/etc/evil": b"x"}), "relative"),
    "backslashes": (zipped({"..\\evil": b"x"}), "plain slashes"),
    "a control character": (zipped({"a\nb": b"x"}), "control"),
    "a zero byte": (zipped({"ab": b"x"}).replace(b"ab", b"a\0"), "control"),
    "a symbolic link": (link(b"/etc/passwd"), "only files"),
    "a device": (zipped({"a": b""}, external_attr=0o020666 << 16), "only files"),
    "another case": (zipped({"a": b"1", "A": b"2"}), "twice"),
    "another form": (zipped({"\u00e9": b"1", "e\u0301": b"2"}), "twice"),
    "a file as a folder": (zipped({"a": b"1", "a/b": b"2"}), "twice"),
    "our own folder": (zipped({".Caudex/x": b"1"}), "server's own"),
    "nothing": (b"", "not a whole zip"),
    "garbage": (b"garbage" * 100, "not a whole zip"),
    "cut at the end": (zipped({"a": b"x" * 500})[:-30], "not a whole zip"),
    "cut at the start": (zipped({"a": b"x" * 500})[20:], "not a whole zip"),
    "a tar": (targz({"a": "x"}), "not a whole zip"),
    "a wrong checksum": (
        zipped({"a": b"x"}).replace(zlib.crc32(b"x").to_bytes(4, "little"), b"evil"),
        "not a whole zip",
    ),
    "a method of its own": (
        zipped({"a": b"x"}).replace(b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x0c\0"),
        "method deflate",
    ),
}


@pytest.mark.parametrize("attack", ZIP_ATTACKS)
def test_a_zip_that_means_no_good_is_refused(attack: str, tmp_path: Path):
    data, word = ZIP_ATTACKS[attack]
    refused(tmp_path, data, word, unpack=unpack_zip)


def test_an_encrypted_zip_is_refused(tmp_path: Path):
    data = bytearray(zipped({"a": b"x"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    refused(tmp_path, bytes(data), "encrypted", unpack=unpack_zip)


def test_a_zip_that_says_less_than_it_holds_is_refused(tmp_path: Path):
    data = zipped({"a": b"x" * 100_000}).replace((100_000).to_bytes(4, "little"), b"\x05\0\0\0")
    refused(tmp_path, data, "not a whole zip", unpack=unpack_zip)


def test_a_bomb_of_a_zip_is_counted_by_what_it_unpacks_to(tmp_path: Path):
    data = zipped({f"f{n}": bytes(1_000_000) for n in range(3)})
    refused(tmp_path, data, "more than 2 MB", ArchiveRules(max_bytes=2 * 2**20), unpack_zip)


def test_the_entries_of_a_zip_are_counted(tmp_path: Path):
    data = zipped({f"f{n}": b"" for n in range(11)})
    refused(tmp_path, data, "more than 10 files", FEW, unpack_zip)


def test_the_directory_of_a_zip_is_looked_at_before_it_is_read(tmp_path: Path, monkeypatch):
    data = zipped({f"f{n}": b"" for n in range(21)})
    monkeypatch.setattr(zips.zipfile, "ZipFile", None)
    refused(tmp_path, data, "more than 10 files", FEW, unpack_zip)
    (tmp_path / "out").rmdir()
    monkeypatch.setattr(zips, "MAX_DIRECTORY", 100)
    refused(tmp_path, data, "directory", RULES, unpack_zip)


def test_zip64_is_refused(tmp_path: Path):
    end = zipped({})
    refused(tmp_path, b"PK\x06\x07" + bytes(16) + end, "zip64", unpack=unpack_zip)


def test_a_zip_of_macos_arrives_as_it_was(tmp_path: Path):
    files = {"site/": b"", "site/\u00e9.html": b"<p>" * 9000, "__MACOSX/site/._x": b"junk"}
    data = zipped(files)
    plain = data.replace("\u00e9".encode(), b"\xc3\xa9")
    raw_names = bytearray(plain)  # macOS writes UTF-8 and does not say so
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = raw_names.find(mark)
        while position >= 0:
            raw_names[position + offset + 1] &= ~0x08
            position = raw_names.find(mark, position + 4)
    for number, content in enumerate((data, bytes(raw_names))):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert unpacked(folder, content, unpack_zip) == {"site/\u00e9.html": b"<p>" * 9000}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), flips=st.integers(1, 30))
def test_broken_zips_never_do_anything_but_unpack_or_refuse(tmp_path_factory, seed, flips):
    chance = random.Random(seed)
    data = bytearray(zipped({"a/b": b"x" * 600, "c": b"y"}))
    for _ in range(flips):
        data[chance.randrange(len(data))] = chance.randrange(256)
    folder = tmp_path_factory.mktemp("fuzz")
    file, out = folder / "archive", folder / "out"
    file.write_bytes(bytes(data))
    out.mkdir()
    with suppress(BadRequest):
        unpack_zip(file, out, RULES)
    assert {path.name for path in folder.iterdir()} == {"archive", "out"}
