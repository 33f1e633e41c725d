"""Which machines may be connected to, where a user names the host."""

from __future__ import annotations

import socket

import pytest

from kernel.toolkit.addresses import LOOPBACK_NETWORKS, AddressRules, NoAddress, RefusedAddress

REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8",
    "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::10.1.2.3", "64:ff9b::169.254.169.254", "64:ff9b:1::1",
    "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a01:203::1", "3fff::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "not an address", "",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1",
          "64:ff9b::1.1.1.1"]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused_in_each_form(address: str) -> None:
    assert AddressRules().judge(address) == "refused"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    assert AddressRules().judge(address) == "public"


def test_a_network_is_allowed_in_each_form() -> None:
    rules = AddressRules(["10.2.0.0/16", "fd12::/16"])
    allowed = ["10.2.0.1", "::ffff:10.2.255.1", "64:ff9b::10.2.3.4", "fd12::1"]
    assert [rules.judge(address) for address in allowed] == ["allowed"] * 4
    others = ["10.3.0.1", "::ffff:10.3.0.1", "fd13::1", "127.0.0.1"]
    assert [rules.judge(address) for address in others] == ["refused"] * 4
    assert rules.judge("1.1.1.1") == "public"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "::1", "[::1]"]
)
async def test_every_spelling_of_loopback_is_refused_by_its_address(host: str) -> None:
    with pytest.raises(RefusedAddress):
        await AddressRules().resolve(host, 80)


async def test_loopback_can_be_allowed() -> None:
    addresses = await AddressRules(LOOPBACK_NETWORKS).resolve("localhost", 80, only_allowed=True)
    assert "127.0.0.1" in addresses


async def test_a_host_without_an_address_says_so_without_its_name() -> None:
    with pytest.raises(NoAddress) as caught:
        await AddressRules().resolve("secret-name.invalid", 443)
    assert "secret" not in caught.value.message


async def test_of_several_addresses_the_usable_ones_remain(monkeypatch) -> None:
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("10.0.0.1", "1.1.1.1", "10.2.0.9", "1.1.1.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    rules = AddressRules(["10.2.0.0/16"])
    assert await rules.resolve("x.example", 443) == ["1.1.1.1", "10.2.0.9"]
    assert await rules.resolve("x.example", 80, only_allowed=True) == ["10.2.0.9"]
    with pytest.raises(RefusedAddress, match="needs https"):
        await AddressRules().resolve("x.example", 80, only_allowed=True)
