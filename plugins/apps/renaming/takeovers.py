"""Names in use that take over what another name in use has, as two names that are swapped do.

`was` lists former names, the latest first: with the present name it is the history of one thing.
What is installed has a history, too. A thing is the one whose history its own continues: so a
swap that is installed is not made again, and one more swap is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Names = Sequence[str]


def find_takeovers(declared: Mapping[str, Names], installed: Mapping[str, Names]) -> dict[str, str]:
    """Return which name in use takes over which, by the new name.

    Both are names to their `was`; `installed` has those that are in use. A name is taken over only
    if what has it now goes elsewhere itself.
    """
    takeovers: dict[str, str] = {}
    for name, was in declared.items():
        source = _find_source(name, was, installed)
        if source is not None:
            takeovers[name] = source

    arriving = {former for name, was in declared.items() if name not in installed for former in was}
    while True:
        taken_names = {*takeovers.values(), *arriving}
        remaining = {
            name: source
            for name, source in takeovers.items()
            if name in taken_names and (source not in declared or source in takeovers)
        }
        if len(remaining) == len(takeovers):
            return remaining
        takeovers = remaining


def _find_source(name: str, was: Names, installed: Mapping[str, Names]) -> str | None:
    """Return the other name in use whose history a declared one continues."""
    if name not in installed or not was:
        return None
    history = [name, *was]
    if _continues(history, name, installed):
        return None
    for former in was:
        if former != name and former in installed and _continues(history, former, installed):
            return former
    # Histories that are not kept begin with the latest name.
    latest = was[0]
    if latest != name and latest in installed and latest not in installed[name]:
        return latest
    return None


def _continues(history: Names, name: str, installed: Mapping[str, Names]) -> bool:
    """Whether a history ends with that of an installed name."""
    ending = [name, *installed[name]]
    return list(history[-len(ending) :]) == ending
