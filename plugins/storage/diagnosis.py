"""What `caudex doctor` says of the folder."""

from __future__ import annotations

import errno
import os

from kernel.public import Finding

from .folder import BlobFolder

NAME = "files"


def examine_folder(folder: BlobFolder) -> Finding:
    """Report where the files are, and the room for more. Nothing is made."""
    root = folder.root
    if not root.exists():
        return Finding(name=NAME, text=f"{root} is made by the first start")
    try:
        folder.check()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            text = f"{root} is full: make room, or name another folder ([plugins.storage] folder)"
        else:
            text = f"{root} cannot be written ({error.strerror}): run as the account of the server"
        return Finding(name=NAME, text=text, state="fail")
    state = os.statvfs(root)
    free = state.f_bavail * state.f_frsize / 1e9
    return Finding(name=NAME, text=f"{root}, {free:.1f} GB free")
