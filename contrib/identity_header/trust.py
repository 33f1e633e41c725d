"""Whether a request comes from a proxy that may name its user."""

from __future__ import annotations

import errno
import hmac
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from kernel.public import BootError

from .config import IdentityHeaderConfig

Network = IPv4Network | IPv6Network
TRUSTED: Final = "[plugins.identity_header] trusted"
SECRET: Final = "[plugins.identity_header] secret"
MAKE_ONE: Final = "make one with: openssl rand -base64 32"


class Trust:
    """The peer of the connection, and the secret that it sends; never a header that names it.

    Raises BootError for a configuration under which others than the proxy could be believed.
    """

    def __init__(self, config: IdentityHeaderConfig) -> None:
        self._networks = [_read_network(text) for text in config.trusted]
        self._secret = config.secret.encode()
        self._header = config.secret_header.lower().encode()
        if not self._networks and not self._secret:
            problem = "no proxy is trusted, so no user could sign in"
            raise BootError(TRUSTED, problem, "name the proxy's addresses, or set a secret")
        if self._secret and len(self._secret) < 16:
            raise BootError(SECRET, "it has fewer than 16 bytes", MAKE_ONE)
        if not self._secret:
            for network in self._networks:
                _refuse_open(network)

    def refusal(self, scope: Mapping[str, Any]) -> str | None:
        """Say why a request is not believed; None for one that is."""
        client = scope.get("client")
        peer = ""
        if client:
            peer = client[0]
        if self._networks and not _is_in_networks(peer, self._networks):
            return "its peer is no trusted proxy"
        if self._secret:
            if self._has_secret(scope["headers"]):
                return None
            return "the secret is not the proxy's"

        # Worker code runs on this machine too, with the same address as a proxy here.
        server = scope.get("server")
        is_server = server is not None and _is_same(peer, server[0])
        if is_server or _is_of_machine(peer):
            return "its peer is this machine itself, which needs a secret"
        return None

    def _has_secret(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        secrets = [value for name, value in headers if name == self._header]
        return len(secrets) == 1 and hmac.compare_digest(secrets[0], self._secret)


def _read_network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise BootError(TRUSTED, str(error), 'write it as "10.0.0.7" or "10.0.0.0/24"') from None


def _refuse_open(network: Network) -> None:
    if network.prefixlen == 0:
        raise BootError(TRUSTED, f"{network} is every address", "name the proxy, or set a secret")
    if network.is_loopback:
        problem = f"{network} is this machine, where the code of apps runs as well"
        raise BootError(TRUSTED, problem, "set a secret that only the proxy knows")


def _is_in_networks(peer: str, networks: Sequence[Network]) -> bool:
    address = _read_address(peer)
    return address is not None and any(address in network for network in networks)


def _is_same(peer: str, server: str) -> bool:
    address = _read_address(peer)
    return address is not None and address == _read_address(server)


def _is_of_machine(peer: str) -> bool:
    """Whether an address is one of this machine: only to such a one a socket can be bound.

    Code that runs here chooses from which of them it connects, whatever it connects to. Asked each
    time, since a machine gets and loses addresses; what cannot be found out counts as ours.
    """
    address = _read_address(peer)
    if address is None:
        return False
    family = socket.AF_INET6
    if address.version == 4:
        family = socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((str(address), 0))
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True


def _read_address(text: str) -> Any:
    """An IP address, the same for `10.0.0.1` and `::ffff:10.0.0.1`; None for a socket's path."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
