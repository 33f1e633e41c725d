"""Which machines a plugin may connect to, where a user has named the host."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal

import anyio
import anyio.to_thread

from kernel.errors import BadRequest

Address = IPv4Address | IPv6Address
Verdict = Literal["public", "allowed", "refused"]

LOOPBACK_NETWORKS: Final = ("127.0.0.0/8", "::1/128")
"""What a server that only its own machine reaches may allow."""

_GLOBAL_UNICAST: Final = ip_network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_REFUSED: Final = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # services of the host in Azure: a public address, reached from inside
        "192.0.0.0/24",  # special purposes; metadata of Oracle's cloud
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # special purposes; Teredo holds an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 holds an IPv4 address
        "3fff::/20",
    )
)
"""Ranges that are refused, and that `is_global` does not refuse in every version of Python."""
_LOOKUPS: Final = 100
_LONGEST_LOOKUP: Final = 10.0


class RefusedAddress(BadRequest):
    """A host that must not be connected to."""


class NoAddress(RefusedAddress):
    """A host that has no address at the moment."""


@dataclass(eq=False)
class AddressRules:
    """Decides about addresses: public ones, and those within the networks of `allow`.

    Private, loopback, link-local, multicast, reserved and metadata addresses are refused, in each
    form that IPv6 has for them. Check the address that is connected to: a name can have another
    address at the next lookup.
    """

    allow: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._allowed = [ip_network(text, strict=False) for text in self.allow]
        # The loop's own lookup shares a few threads with everything else. A name server that does
        # not answer would keep them all.
        self._lookups = anyio.CapacityLimiter(_LOOKUPS)

    def judge(self, address: str) -> Verdict:
        """Decide about an address; other text is refused."""
        try:
            plain = _unwrap(ip_address(address))
        except ValueError:
            return "refused"
        if any(plain.version == network.version and plain in network for network in self._allowed):
            return "allowed"
        return "public" if _is_public(plain) else "refused"

    async def resolve(self, host: str, port: int, *, only_allowed: bool = False) -> list[str]:
        """Return the addresses of a host that may be connected to.

        With `only_allowed` they are those within `allow`. Raises RefusedAddress, and NoAddress
        where a lookup has no answer. The messages do not name the host.
        """
        lookup = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            with anyio.fail_after(_LONGEST_LOOKUP):
                answers = await anyio.to_thread.run_sync(
                    lookup, limiter=self._lookups, abandon_on_cancel=True
                )
        except (OSError, UnicodeError, TimeoutError):
            raise NoAddress("the host has no address") from None

        addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
        verdicts = {address: self.judge(address) for address in addresses}
        allowed = [address for address in addresses if verdicts[address] == "allowed"]
        if only_allowed:
            if not allowed:
                raise RefusedAddress("an address outside of `allow` needs https")
            return allowed
        usable = [address for address in addresses if verdicts[address] != "refused"]
        if not usable:
            raise RefusedAddress("the host has a private, local or reserved address")
        return usable


def _unwrap(address: Address) -> Address:
    """Return the IPv4 address within a mapped or a translated IPv6 address."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
