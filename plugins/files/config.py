"""`[plugins.files]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class FilesConfig(Section, frozen=True, kw_only=True):
    """How large files are, and how long they are kept.

    `max_size` are the bytes of one file. `pending` are the bytes of the files that one user
    uploaded and no record holds, `pending_files` is their number. `keep` are the days for which a
    file stays after the last record gave it up: as long as an undo may need it. `url` is what links
    begin with, as `https://desk.example.com`; without it, the address that a request was sent to.
    """

    max_size: Annotated[int, Meta(ge=1, le=10**15)] = 1_000_000_000
    pending: Annotated[int, Meta(ge=1, le=10**15)] = 1_000_000_000
    pending_files: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    keep: Annotated[int, Meta(ge=0, le=36_500)] = 90
    url: Annotated[str, Meta(pattern=r"^(https?://[^/?#@]+)?$")] = ""
