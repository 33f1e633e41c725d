"""`caudex completion`: the script that a shell loads to complete commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from kernel.public import BadRequest

from .output import Output

VARIABLE = "_CAUDEX_COMPLETE"
"""The variable by which the script asks `caudex` for completions."""


async def completion(output: Output, *, shell: str) -> int:
    """Print the script, or as JSON."""
    completer = get_completion_class(shell)
    if completer is None:
        raise BadRequest(f"{shell} has no completion")
    script = completer(click.Command("caudex"), {}, "caudex", VARIABLE).source()
    output.say(script.rstrip())
    output.result({"shell": shell, "script": script})
    return 0
