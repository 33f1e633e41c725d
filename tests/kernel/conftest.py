"""Plugins written on the spot, loaded without a database."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading.kernel import Kernel
from kernel.loading.loader import load
from tests.kernel.support import BUILT_IN, HEAD, LoadPlugins


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write `body` as the one-file plugin `name`."""

    def write(name: str, body: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD + textwrap.dedent(body))
        return path

    return write


@pytest.fixture
def load_plugins(write: Callable[[str, str], Path]) -> LoadPlugins:
    """Load one-file plugins, given by name and text; others are off unless `config` says so."""

    def load_them(config: dict[str, Any] | None = None, /, **files: str) -> Kernel:
        paths = [str(write(name, body)) for name, body in files.items()]
        off: dict[str, Any] = {f"plugins.{name}": {"enabled": False} for name in BUILT_IN}
        overrides = {"server.plugin_files": paths, **off, **(config or {})}
        return load(load_config(environ={}, overrides=overrides))

    return load_them


@pytest.fixture
def refusal(load_plugins: LoadPlugins) -> Callable[..., list[str]]:
    """Load plugins that cannot be, beside `system`, and return what is said, line by line."""

    def refuse(config: dict[str, Any] | None = None, /, **files: str) -> list[str]:
        with pytest.raises(BootError) as caught:
            load_plugins({"plugins.system": {}, **(config or {})}, **files)
        return str(caught.value).splitlines()

    return refuse
