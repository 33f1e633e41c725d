"""Reports what would confine workers on this machine, and what would run them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kernel.public import BadRequest, BootError, Finding, Runtime
from plugins.workers.config import WorkersConfig
from plugins.workers.runtimes import JavaScriptRuntime, PythonRuntime

from .cgroups import Cgroups
from .sandbox import Sandbox

NAME: Final = "workers"


def diagnose_machine(config: WorkersConfig, data_dir: Path, config_file: str = "") -> list[Finding]:
    """Return the findings for `caudex doctor`. Blocking."""
    sandbox = Sandbox(config, data_dir, config_file)
    try:
        sandbox.look(has_folder=os.path.isdir(data_dir / "workers"))
    except BootError as error:
        return [_warn(str(error))]
    findings = [_describe_confinement(sandbox, config)]
    if config.sandbox != "off":
        groups = Cgroups(config)
        groups.look()
        findings.append(_describe_limits(groups))
        findings += _describe_leftovers(sandbox, groups)
    findings += [_warn(note) for note in sandbox.notes]
    python = PythonRuntime(config.python, Path(), sandbox.can_run)
    javascript = JavaScriptRuntime(config.bun, config.node, Path(), sandbox.can_run)
    findings.append(_describe_language(python, Path("worker.py")))
    findings.append(_describe_language(javascript, Path("index.js")))
    return findings


def _describe_confinement(sandbox: Sandbox, config: WorkersConfig) -> Finding:
    if config.sandbox == "off":
        return _warn('nothing confines them: sandbox = "off" in [plugins.workers]')
    account = "an account of its own" if sandbox.support.switches else "the server's account"
    text = f"each app runs under {account}"
    if sandbox.support.landlock:
        text += f", within Landlock {sandbox.support.landlock}"
    if not sandbox.support.switches and not sandbox.support.landlock:
        return _warn(text)
    return Finding(name=NAME, text=text)


def _describe_limits(groups: Cgroups) -> Finding:
    """Describe what limits an app as a whole."""
    level = groups.level or ()
    if groups.base is None:
        why = "no cgroup v2 is delegated to the server (Delegate=yes in its systemd unit)"
    else:
        why = f"{groups.base} has no such controller"
    limited = f"{', '.join(level)} are limited for each app, by cgroup v2 at {groups.base}"
    if "memory" in level:
        return Finding(name=NAME, text=limited)
    measured = f"memory of an app is measured once a second: {why}"
    if level:
        return _warn(f"{limited}; {measured}")
    return _warn(f"CPU is not limited, and {measured}")


def _describe_leftovers(sandbox: Sandbox, groups: Cgroups) -> list[Finding]:
    """Describe what is not ended of a worker: with cgroups or an account for each app, nothing."""
    if sandbox.support.switches or groups.base is not None:
        return []
    port = "; it cannot take the server's port" if sandbox.support.keeps_port else ""
    return [
        _warn(
            "a process that leaves its worker and clears its environment is not ended: this needs"
            f" a delegated cgroup v2, or a server that runs as root{port}"
        )
    ]


def _describe_language(runtime: Runtime, entry: Path) -> Finding:
    try:
        program = runtime.launch(Path(), entry).argv[0]
    except BadRequest as error:
        return _warn(f"{error.message}; install one if apps need it")
    return Finding(name=NAME, text=f"{runtime.name} is run by {program}")


def diagnose_crashed(apps: str | None) -> list[Finding]:
    """Return the finding for the names of apps whose worker crashed too often."""
    if not apps:
        return []
    remedy = "their logs say why; a deploy or a start tries them at once"
    return [_warn(f"crashed too often and tried again with growing pauses: {apps}; {remedy}")]


def _warn(text: str) -> Finding:
    return Finding(name=NAME, text=text, state="warn")
