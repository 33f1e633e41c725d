"""How many requests each client address may have under way."""

from ipaddress import ip_network

import pytest

from kernel.errors import Unavailable
from kernel.web.arrivals.admission import AdmissionControl

PROXIES = [ip_network("10.0.0.0/8")]


def taken(places: AdmissionControl, address: str, most: int = 100) -> int:
    """How many places an address gets that takes all it can."""
    for count in range(most):
        try:
            places.take(address)
        except Unavailable:
            return count
    return most


@pytest.mark.parametrize(("limit", "alone"), [(1, 1), (2, 1), (3, 2), (10, 5)])
def test_who_is_alone_has_half_of_the_places(limit: int, alone: int) -> None:
    assert taken(AdmissionControl(limit, []), "203.0.113.9") == alone


def test_however_many_addresses_take_all_they_can_the_next_one_finds_a_place() -> None:
    places = AdmissionControl(64, [])
    found = [taken(places, f"203.0.113.{n}") for n in range(6)]
    assert found == [32, 16, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("2001:db8::1", "2001:db8::2:0:0:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.10", False),
    ],
)
def test_who_counts_as_one(one: str, other: str, same: bool) -> None:
    places = AdmissionControl(2, [])
    places.take(one)
    assert taken(places, other) == (0 if same else 1)


def test_the_processes_of_this_machine_count_as_one_address() -> None:
    for proxies in (PROXIES, [ip_network("127.0.0.0/8")]):
        places = AdmissionControl(64, proxies)
        local = ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1")
        assert [taken(places, address) for address in local] == [32, 0, 0, 0]
        assert taken(places, "203.0.113.9") == 16


@pytest.mark.parametrize("address", ["10.1.2.3", ""])
def test_who_hands_on_for_many_has_all_places(address: str) -> None:
    places = AdmissionControl(10, PROXIES)
    assert taken(places, address) == 10
    with pytest.raises(Unavailable, match=r"at once$"):
        places.take("203.0.113.9")


def test_places_that_are_left_are_free_again_and_nothing_is_kept_of_who_had_them() -> None:
    places = AdmissionControl(4, [])
    for n in range(2048):
        held = [places.take(f"2001:db8:{n:x}::{k}") for k in (1, 2)]
        for place in held:
            places.leave(place)
    assert (places._free, places._held) == (4, {})
    assert places._find_origin.cache_info().currsize <= 1024


def test_the_number_of_places_changes_while_some_are_taken() -> None:
    places = AdmissionControl(2, PROXIES)
    first, second = places.take(""), places.take("")
    places.set_limit(1, PROXIES)
    places.leave(first)
    with pytest.raises(Unavailable, match=r"at once$"):
        places.take("")
    places.leave(second)
    places.leave(places.take(""))
    places.set_limit(3, PROXIES)
    assert taken(places, "") == 3
