"""Workers as shell scripts: an archive with `worker.sh` at its top."""

from collections.abc import Sequence
from pathlib import Path

from caudex import BadRequest, LaunchSpec, Plugin, Runtime, hookimpl

SHELL = Path("/bin/sh")


class ShellRuntime:
    """How the server finds, prepares and starts such a worker."""

    name = "shell"

    def entry(self, folder: Path) -> Path | None:
        """The first runtime that finds an entry file runs the code."""
        file = folder / "worker.sh"
        return file if file.is_file() else None

    def installs(self, folder: Path) -> Sequence[Sequence[str]]:
        """Commands that bring dependencies: a script has none."""
        return ()

    def launch(self, folder: Path, entry: Path) -> LaunchSpec:
        """It speaks JSON lines over its standard input and output."""
        if not SHELL.exists():
            raise BadRequest("this machine has no /bin/sh")
        return LaunchSpec(argv=(str(SHELL), str(entry)))


class RegisterRuntimesPlugin(Plugin):
    """Adds the language `shell`."""

    name = "register_runtimes"

    @hookimpl
    def register_runtimes(self) -> list[Runtime]:
        """Asked in order, after those of the plugin `workers`."""
        return [ShellRuntime()]
