"""A server without content beside the data, for as long as it takes to try something out."""

import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .binaries import find_binaries
from .config import EmbeddedPostgresError, PostgresConfig, Setting
from .layout import Layout
from .server import EmbeddedServer
from .state import is_held

PREFIX = "postgres.scratch-"
RESERVE = 1 << 30
"""Bytes that stay free, for the cluster itself and for the server beside it."""
# What is loaded in one transaction is written once, and not to the log.
SETTINGS: dict[str, Setting] = {"wal_level": "minimal", "max_wal_senders": 0}


@contextmanager
def scratch_server(data_dir: Path, config: PostgresConfig, major: int, size: int) -> Generator[str]:
    """Run a server of a major version that takes `size` bytes of content. Yields the superuser's
    DSN. Raises EmbeddedPostgresError where it cannot be."""
    find_binaries(major, config.bin_dir)
    layout = Layout(data_dir)
    layout.prepare()
    _sweep(layout.data_dir)
    free = shutil.disk_usage(layout.data_dir).free
    if free < size + RESERVE:
        raise EmbeddedPostgresError(
            f"{layout.data_dir} has {free / 1e9:.1f} GB free, "
            f"not the {(size + RESERVE) / 1e9:.1f} GB that a copy takes"
        )
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=layout.data_dir))
    scratch = PostgresConfig(
        port=0, ephemeral=True, settings=SETTINGS, account=config.account, bin_dir=config.bin_dir
    )
    server = EmbeddedServer(folder, scratch, major=major)
    try:
        server.start()
        yield server.dsn()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(data_dir: Path) -> None:
    """Remove what a kill left. A server locks its folder within a minute."""
    for folder in data_dir.glob(f"{PREFIX}*"):
        is_new = folder.stat().st_mtime > time.time() - 60.0
        if not is_new and not is_held(Layout(folder).lock):
            shutil.rmtree(folder, ignore_errors=True)
