"""Ports that the system gives to outgoing connections: a server's own should not be among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kernel.public import Finding

SETTINGS: Final = Path("/proc/sys/net/ipv4")


def chosen_port_findings(port: int, settings: Path = SETTINGS) -> Iterator[Finding]:
    """Warn of a server's port that any connection may have while the server is down.

    The worker of an app can even choose it, by IP_LOCAL_PORT_RANGE of ip(7).
    """
    low, high = _read_range(settings)
    if not low <= port <= high or _is_reserved(port, settings):
        return
    text = (
        f"{port} is among the ports that the system gives to connections, {low} to {high}, so it"
        f" may be taken when the server starts; choose one below {low}, or reserve it:"
        f" sysctl net.ipv4.ip_local_reserved_ports={port}"
    )
    yield Finding(name="port", text=text, state="warn")


def _read_range(settings: Path) -> tuple[int, int]:
    """Return the first and the last port of the range; one without ports where it is unknown."""
    try:
        low, high = (settings / "ip_local_port_range").read_text("ascii").split()
    except OSError:  # not Linux
        return 1, 0
    return int(low), int(high)


def _is_reserved(port: int, settings: Path) -> bool:
    """Whether the system leaves a port out: its setting reads `8080,9000-9100`."""
    try:
        text = (settings / "ip_local_reserved_ports").read_text("ascii").strip()
    except OSError:
        return False
    for part in filter(None, text.split(",")):
        lowest, _, highest = part.partition("-")
        if int(lowest) <= port <= int(highest or lowest):
            return True
    return False
