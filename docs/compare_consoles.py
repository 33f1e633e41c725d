"""Compares the console with PocketBase's: `python -m docs.compare_consoles OURS THEIRS`.

The arguments are the addresses of both, of servers that run on this machine. A fresh browser opens
each nine times; the medians are printed as a row of a table.
"""

from __future__ import annotations

import shutil
import statistics
import sys
from typing import Any, NamedTuple

ROUNDS = 9
FORM = "input[type=password], [name=username], form input"


class Opened(NamedTuple):
    """What opening a console took: bytes on the wire, requests, and milliseconds."""

    bytes: float
    requests: float
    first_paint: float
    form: float


def main(arguments: list[str]) -> int:
    """Measure both consoles."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for url in arguments:
            rounds = [_open(chromium, url) for _ in range(ROUNDS)]
            found = Opened(*(statistics.median(each) for each in zip(*rounds, strict=True)))
            print(
                f"| {url} | {found.bytes / 1000:.0f} kB | {found.requests:.0f} "
                f"| {found.first_paint:.0f} ms | {found.form:.0f} ms |"
            )
        chromium.close()
    return 0


def _open(chromium: Any, url: str) -> Opened:
    context = chromium.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(url)
    page.wait_for_selector(FORM)
    form = page.evaluate("performance.now()")
    page.wait_for_timeout(1000)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return Opened(sum(sizes), len(sizes), paint, form)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
