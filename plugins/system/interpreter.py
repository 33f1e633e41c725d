"""How the Python that runs was built."""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Mapping
from typing import Any, Final

from kernel.public import Finding

SLOW: Final = (
    "was built without profile-guided optimization, which costs about a third of the speed; "
    "use one of your distribution, or build it with --enable-optimizations"
)


def remark() -> Finding:
    """Report whether it is an optimized build."""
    quick = profiled(sysconfig.get_config_vars())
    text = f"{platform.python_version()} {'is profile-guided' if quick else SLOW}"
    return Finding(name="python", text=text, state="ok" if quick else "warn")


def profiled(built: Mapping[str, Any]) -> bool:
    """Whether a build, as `sysconfig` describes it, was optimized by a profile.

    Every `configure` finds the flag for it; Debian, which gives it to make and not to configure,
    takes it out of what it installs.
    """
    flag = str(built.get("PGO_PROF_USE_FLAG") or "")
    used = f"{built.get('CONFIG_ARGS')} {built.get('PY_CORE_CFLAGS')}"
    return not flag or "--enable-optimizations" in used or flag.split()[0] in used
