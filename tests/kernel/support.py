"""What the kernel's tests share."""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import contrib
import plugins
from kernel.loading.kernel import Kernel

BUILT_IN = [
    folder.name
    for package in (plugins, contrib)
    for folder in Path(package.__path__[0]).iterdir()
    if (folder / "__init__.py").exists()
]
UNPRIVILEGED = 65534
HEAD = """
from caudex import *; from caudex import APP_ADMIN, subjects_from
from caudex import Plugin, hookimpl, for_subjects, provide, ServiceKey, Route, Permission, entity
from caudex import Command, ManifestSection, PUBLIC, ANY_USER, CORE_ADMIN, core_permission, ACCESS
"""

LoadPlugins = Callable[..., Kernel]


def plugin(name: str, body: str = "pass", head: str = "") -> str:
    """The text of a plugin class; the body is indented by one level."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"{head}\nclass P(Plugin):\n    name = {name!r}\n{lines}\n"


@contextmanager
def shut(folder: Path, mode: int = 0) -> Generator[None]:
    """Let no one into a folder, root neither: meanwhile this is an account that owns nothing."""
    before, account = folder.stat().st_mode, os.geteuid()
    folder.chmod(mode)
    if account == 0:
        os.seteuid(UNPRIVILEGED)
    try:
        yield
    finally:
        os.seteuid(account)
        folder.chmod(before)
