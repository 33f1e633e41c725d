"""`[plugins.frontends]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from kernel.public import Section

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_NAME = rf"{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?"
Domain = Annotated[
    str, Meta(pattern=f"^({_NAME})?$", description="a name in lower case, as apps.example.com")
]
HostName = Annotated[
    str, Meta(pattern=f"^{_NAME}$", description="a name in lower case, as crm.example.com")
]
Directive = Literal[
    "connect-src", "font-src", "frame-src", "img-src", "manifest-src", "media-src", "script-src",
    "style-src", "worker-src",
]  # fmt: skip
"""What an operator may let manifests widen. The others of the policy never change."""
Source = Annotated[
    str,
    Meta(
        pattern=r"^(\*|(https?|wss?)://[A-Za-z0-9*._:-]+[^\s;,'\"]*|data:|blob:|mediastream:)$",
        description="a source of a content security policy, as https://api.example.com, or *",
    ),
]


SERVER_URL = Meta(
    pattern=r"^(https?://[A-Za-z0-9._:\[\]-]+)?$",
    description="an origin without a path, as https://tools.example.com",
)


class FrontendsConfig(Section, frozen=True, kw_only=True):
    """Where apps have their hosts, and what their pages may load."""

    mode: Literal["hosts", "path"] = "hosts"
    """`hosts` serves each app at a host of its own. `path` serves all under `/apps/` of one host,
    where pages of apps can read the console's session: then only core admins deploy."""
    domain: Domain = ""
    """Name whose subdomains are the hosts of apps; with a port where clients need one."""
    hosts: Mapping[HostName, str] = {}
    """Hosts of single apps, each with the id of its app."""
    scheme: Literal["https", "http"] = "https"
    """How clients reach the hosts of `domain` and `hosts`."""
    server_url: Annotated[str, SERVER_URL] = ""
    """Address of the server's own host, where users of all apps sign in. By default that of this
    machine, or the only name in `[server] allowed_hosts`."""
    csp_allow: Mapping[Directive, list[Source]] = {}
    """Sources that manifests may add to the policy of pages, by directive; `*` is any host."""
    own_login: bool = True
    """Let pages of apps have login forms of their own; `false` refuses passwords on apps' hosts."""
    memory_mb: Annotated[int, Meta(ge=1, le=65_536)] = 64
    """Memory of each server process for files that are sent often."""
    disk_mb: Annotated[int, Meta(ge=250, le=16_777_216)] = 2048
    """Disk of this machine for copies of frontends; the database has all of them."""
