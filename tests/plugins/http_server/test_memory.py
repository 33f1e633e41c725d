"""The memory of a server process: which of it moves to huge pages."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.http_server.memory import HUGE_PAGES, huge_page_size, own_mappings

MAPS = """\
00400000-0041f000 r--p 00000000 fe:00 1234567                            /usr/bin/python3.11
00a5a000-00ab2000 rw-p 00659000 fe:00 1234567                            /usr/bin/python3.11
01a20000-02f8d000 rw-p 00000000 00:00 0                                  [heap]
7f0dc42ad000-7f0dc42ae000 ---p 00000000 00:00 0
7f0dc42ae000-7f0dc4aae000 rw-p 00000000 00:00 0
7f0dc4b00000-7f0dc4c00000 rw-s 00000000 00:01 77                         /dev/zero (deleted)
7ffd52a11000-7ffd52a33000 rw-p 00000000 00:00 0                          [stack]
"""
MOVED = """
import asyncio, re
from pathlib import Path
from plugins.http_server.memory import MEMORY

def huge():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"AnonHugePages: +([0-9]+)", text)[1])

async def main():
    kept = [bytes(200) for _ in range(100_000)]
    MEMORY.use_huge_pages()
    await asyncio.get_running_loop().shutdown_default_executor()
    print(huge(), sum(map(len, kept)))

asyncio.run(main())
"""


def test_heaps_and_anonymous_memory_belong_to_the_process() -> None:
    assert list(own_mappings(MAPS)) == [(0x01A20000, 0x02F8D000), (0x7F0DC42AE000, 0x7F0DC4AAE000)]


@pytest.mark.parametrize(
    ("enabled", "size", "expected"),
    [
        ("always [madvise] never", "2097152", 2_097_152),
        ("[always] madvise never", "2097152", 2_097_152),
        ("always madvise [never]", "2097152", None),
        ("always [madvise] never", "", None),
        (None, "2097152", None),
    ],
)
def test_huge_pages_are_used_where_the_system_permits_them(
    tmp_path: Path, enabled: str | None, size: str, expected: int | None
) -> None:
    if enabled is not None:
        (tmp_path / "enabled").write_text(enabled)
    (tmp_path / "hpage_pmd_size").write_text(size)
    assert huge_page_size(tmp_path) == expected


def test_the_memory_of_a_start_moves_to_huge_pages() -> None:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    assert release is not None
    if huge_page_size(HUGE_PAGES) is None or (int(release[1]), int(release[2])) < (6, 1):
        pytest.skip("this system has no huge pages that a process can ask for")
    done = subprocess.run(
        [sys.executable, "-c", MOVED], capture_output=True, text=True, check=True, timeout=60
    )
    kilobytes, kept = map(int, done.stdout.split())
    assert kept == 20_000_000
    assert kilobytes >= 2048
