"""Which host belongs to which app, and the addresses of apps."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from kernel.contracts.server.routes import Request
from kernel.public import BadRequest, BootError

from .config import FrontendsConfig

LOCAL: Final = "localhost"
"""Browsers resolve every name under it to their own machine."""
LABEL: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LOOPBACK: Final = re.compile(r"(.+\.)?localhost|127(\.[0-9]{1,3}){3}|\[::1\]")
PORT: Final = re.compile(r":[0-9]*$")


def to_label(app_id: str) -> str | None:
    """Return the label of an app's host (RFC 1123); None for an id that gives no valid one.

    A label whose third and fourth letters are hyphens is kept for other uses (RFC 5891, 4.2.3.1).
    """
    label = app_id.replace("_", "-")
    if LABEL.fullmatch(label) is None or label[2:4] == "--":
        return None
    return label


def _without_port(name: str) -> str:
    return PORT.sub("", name)


class Hosts:
    """The hosts of apps as the configuration has them."""

    def __init__(self, config: FrontendsConfig, default_port: int) -> None:
        """`default_port` is that of the server, for who asks without a request."""
        self._config = config
        self._default_port = default_port
        self._apps = {_without_port(name): app_id for name, app_id in config.hosts.items()}
        self._domains = [LOCAL]
        if config.domain:
            self._domains.append(_without_port(config.domain))

    @property
    def serve_paths(self) -> bool:
        """Whether all apps are served under paths of one host."""
        return self._config.mode == "path"

    def find_app(self, host: str) -> str | None:
        """Return the app of a host; None for one that is the server's own.

        `host` is in lower case, without port and trailing dot. Raises BadRequest for a name under a
        domain of apps that cannot be the host of any.
        """
        if self.serve_paths:
            return None
        app_id = self._apps.get(host)
        if app_id is not None:
            return app_id
        for domain in self._domains:
            if host.endswith(f".{domain}"):
                return self._app_of_label(host.removesuffix(f".{domain}"), host)
        return None

    def locate(self, app_id: str, request: Request | None = None) -> str | None:
        """Return the address of an app's first page; None where it has no host.

        It is made from the configuration. Without a host in it, it is the name under localhost,
        for a request that came to this machine's own address.
        """
        if self.serve_paths:
            path = f"/apps/{app_id}/"
            return path if request is None else request.scope.get("root_path", "") + path
        scheme = self._config.scheme
        for name, owner in self._config.hosts.items():
            if owner == app_id:
                return f"{scheme}://{name}/"
        label = to_label(app_id)
        if label is None:
            return None
        if self._config.domain:
            return f"{scheme}://{label}.{self._config.domain}/"
        host = f"{LOCAL}:{self._default_port}"
        if request is not None:
            host = request.headers.get("host", host)
        if LOOPBACK.fullmatch(_without_port(host).rstrip(".").lower()) is None:
            return None
        port = PORT.search(host)
        return f"http://{label}.{LOCAL}{port[0] if port else ''}/"

    def is_secure(self, host: str) -> bool:
        """Whether clients reach a host of apps by https; `host` as in `find_app`."""
        return self._config.scheme == "https" and not host.endswith(f".{LOCAL}")

    def check_server_names(self, names: Collection[str]) -> Iterator[BootError]:
        """Yield an error for each of the server's own names that is a host of apps as well."""
        if self.serve_paths:
            return
        where = "[plugins.frontends]"
        domain = _without_port(self._config.domain)
        for name in sorted(names):
            if domain and (name == domain or name.endswith(f".{domain}")):
                problem = f"the server's own name {name} is not to be {domain} or under it"
                remedy = "give apps a domain of their own: their pages could read the console's"
                yield BootError(f"{where} domain", problem, remedy)
            if name in self._apps:
                problem = f"{name} is the server's own name and cannot be the host of an app"
                yield BootError(f"{where} hosts", problem, "give the app a host of its own")

    def find_shared_domain(self, names: Collection[str]) -> str | None:
        """Return a registrable domain that apps share with the server; None where they do not."""
        of_apps = {_registrable(name) for name in (*self._apps, *self._domains[1:])}
        of_server = {_registrable(name) for name in names}
        shared = sorted((of_apps & of_server) - {""})
        return shared[0] if shared else None

    def _app_of_label(self, label: str, host: str) -> str:
        app_id = label.replace("-", "_")
        if to_label(app_id) != label:
            raise BadRequest(f"no host {host!r} is served here")
        return app_id


_SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "gov", "ne", "net", "or", "org"})


def _registrable(name: str) -> str:
    """Guess the registrable part of a name, such as example.co.uk; "" for no name.

    It is for a warning. The exact answer needs a list of 10,000 suffixes.
    """
    labels = name.split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        return ""
    count = 2
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:
        count = 3
    return ".".join(labels[-count:])
