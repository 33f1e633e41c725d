"""Files that others wrote: plain ones, and no more of them than their reader can hold."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel.public import BadRequest, open_plain_file, read_small_file


def test_a_file_up_to_the_limit_is_read(tmp_path: Path) -> None:
    file = tmp_path / "package.json"
    file.write_bytes(b"x" * 10)
    assert read_small_file(file, 10) == b"x" * 10


def test_a_file_over_the_limit_is_refused_by_name_and_bound(tmp_path: Path) -> None:
    file = tmp_path / "package.json"
    file.write_bytes(b"x" * 1_000_001)
    with pytest.raises(BadRequest) as refused:
        read_small_file(file)
    assert refused.value.message == "package.json is over the limit of 1,000,000 bytes"


def test_no_more_than_the_limit_is_read(tmp_path: Path) -> None:
    """Of a file that grows, or is sparse: what its size says does not matter."""
    file = tmp_path / "package.json"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)  # more than any machine has memory for
    with pytest.raises(BadRequest, match="over the limit of 1,000,000 bytes"):
        read_small_file(file)


def make_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))


@pytest.mark.parametrize(
    "make",
    [
        lambda place: place.symlink_to("/dev/zero"),
        lambda place: place.symlink_to("absent"),
        lambda place: place.mkdir(),
        os.mkfifo,
        make_socket,
    ],
    ids=["device", "link", "folder", "pipe", "socket"],
)
def test_what_is_no_plain_file_is_refused_and_never_waited_for(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    file = tmp_path / "package.json"
    make(file)
    for read in (read_small_file, open_plain_file):
        with pytest.raises(BadRequest, match=r"^package.json must be a plain file$"):
            read(file)


def test_an_absent_file_is_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_small_file(tmp_path / "absent")
