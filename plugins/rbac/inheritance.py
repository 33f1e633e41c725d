"""Roles that inherit from roles: no cycles, a bounded depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kernel.public import BadRequest, Role

MAX_DEPTH: Final = 16
"""Steps from a role to the furthest one it inherits from."""

Parents = Mapping[str, Sequence[str]]


def check_inheritance(name: str, parents: Parents) -> None:
    """Check an app's graph after the role `name` changed. Raises BadRequest.

    `parents` names what each role inherits from, the changed role included; without `name` the
    graph was valid, so a cycle passes through it.
    """
    for parent in parents[name]:
        if parent not in parents:
            raise BadRequest(f"inherits: there is no role '{parent[:64]}'")
    circle = _find_circle(name, parents)
    if circle:
        raise BadRequest(f"inherits: roles must not go in a circle: {' -> '.join(circle)}")
    if _measure_depth(parents) > MAX_DEPTH:
        raise BadRequest(f"inherits: roles may inherit at most {MAX_DEPTH} steps deep")


def _find_circle(name: str, parents: Parents) -> list[str] | None:
    """Find a path from a role back to itself."""
    came_from: dict[str, str] = {}
    waiting = [name]
    while waiting:
        role = waiting.pop()
        for parent in parents.get(role, ()):
            if parent == name:
                return [*_trace_back(role, name, came_from), name]
            if parent not in came_from:
                came_from[parent] = role
                waiting.append(parent)
    return None


def _trace_back(role: str, start: str, came_from: Mapping[str, str]) -> list[str]:
    trail = [role]
    while trail[-1] != start:
        trail.append(came_from[trail[-1]])
    return trail[::-1]


def _measure_depth(parents: Parents) -> int:
    """Return the steps of the longest path upwards, in a graph without cycles."""
    heights: dict[str, int] = {}
    for start in parents:
        waiting = [start]
        while waiting:
            role = waiting[-1]
            unmeasured = [parent for parent in parents.get(role, ()) if parent not in heights]
            if unmeasured:
                waiting += unmeasured
                continue
            parent_heights = [heights[parent] for parent in parents.get(role, ())]
            heights[role] = max(parent_heights, default=-1) + 1
            waiting.pop()
    return max(heights.values(), default=0)


def find_demanding(roles: Mapping[str, Role]) -> frozenset[str]:
    """Return the roles that demand a second factor, or inherit from one that does."""
    demanding = {name for name, role in roles.items() if role.second_factor is True}
    while True:
        heirs = {name for name, role in roles.items() if not demanding.isdisjoint(role.inherits)}
        if heirs <= demanding:
            return frozenset(demanding)
        demanding |= heirs


def expand(names: Iterable[str], roles: Mapping[str, Role]) -> frozenset[str]:
    """Return the union of the permissions of roles and of all roles they inherit from."""
    visited: set[str] = set()
    waiting = list(names)
    permissions: set[str] = set()
    while waiting:
        name = waiting.pop()
        role = roles.get(name)
        if role is None or name in visited:
            continue
        visited.add(name)
        permissions.update(role.permissions)
        waiting += role.inherits
    return frozenset(permissions)
