"""Ends a helper of a server that was killed, before the next one binds its address."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from caudex import Plugin, hookimpl


class AddressBindingPlugin(Plugin):
    """Knows its helper by a file with the process id."""

    name = "address_binding"

    @property
    def note(self) -> Path:
        """The file, which a server that ends in order removes."""
        return self.context.data_dir / "helper.pid"

    @hookimpl
    def address_binding(self) -> None:
        """Nothing has been started. A second call finds no file, and does nothing."""
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(self.note.read_text("ascii"))
            self.note.unlink()
            os.kill(pid, signal.SIGTERM)
