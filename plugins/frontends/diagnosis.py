"""What `caudex doctor` and the start say about the hosts of apps."""

from __future__ import annotations

from collections.abc import Iterator, Set

from kernel.public import Configuration, Finding

from .config import FrontendsConfig
from .hosts import Hosts

PATHS: str = (
    "frontends are served under paths of the server's own host: a page of any app can read the"
    " console's session, so only core admins deploy them"
)


def find_server_names(configuration: Configuration) -> Set[str]:
    """Return the names of the server itself, in lower case."""
    server = configuration.server
    names = {name.lower() for name in (*server.allowed_hosts, server.host)}
    return {name for name in names if name != "*" and any(letter.isalpha() for letter in name)}


def diagnose(config: FrontendsConfig, hosts: Hosts, names: Set[str]) -> Iterator[Finding]:
    """Report what keeps pages of apps from the console's, and what does not."""
    if hosts.serve_paths:
        remedy = 'give apps hosts of their own: [plugins.frontends] domain = "apps.example.com"'
        yield Finding(name="frontends", text=f"{PATHS}; {remedy}", state="warn")
        return
    errors = [f"{error.problem}; {error.remedy}" for error in hosts.check_server_names(names)]
    if errors:
        yield Finding(name="frontends", text="; ".join(errors), state="fail")
        return
    shared = hosts.find_shared_domain(names)
    if shared is not None:
        text = (
            f"apps and the server share {shared}: a page of an app can set cookies for it;"
            " use a domain that the server has no part of"
        )
        yield Finding(name="frontends", text=text, state="warn")
        return
    where = config.domain or "localhost"
    yield Finding(name="frontends", text=f"apps have hosts under {where}")
