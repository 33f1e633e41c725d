"""What the distribution of an installed plugin needs and this environment does not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from kernel import VERSION
from kernel.errors import BootError

OWN = "caudex-core"


def unmet(where: str, requirements: Iterable[str]) -> Iterator[BootError]:
    """Yield an error for each requirement of a distribution (`Requires-Dist`) that is not met.

    An installer checks them once. A later upgrade of another package, or of Caudex, may break them.
    """
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            remedy = "correct the dependencies in its pyproject.toml"
            yield BootError(where, f"needs {text!r}, which cannot be read: {error}", remedy)
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        installed = _installed(requirement.name)
        if installed is None:
            remedy = f"install it: pip install '{requirement}'"
            yield BootError(where, f"needs {requirement}, which is not installed", remedy)
        elif not requirement.specifier.contains(installed, prereleases=True):
            remedy = f"install one that fits: pip install '{requirement}'"
            if canonicalize_name(requirement.name) == OWN:
                remedy = "install a version of the plugin for this Caudex, or another Caudex"
            yield BootError(where, f"needs {requirement}, and {installed} is installed", remedy)


def _installed(name: str) -> str | None:
    if canonicalize_name(name) == OWN:
        return VERSION  # also where it runs from a folder, without a distribution
    try:
        return version(name)
    except PackageNotFoundError:
        return None
