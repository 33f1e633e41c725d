"""What manifests may say of crons."""

import pytest

from contrib.cron import section
from kernel.public import ManifestSection
from plugins.apps.manifest.sections import Sections

SECTIONS = Sections([("cron", ManifestSection(section.KEY, section.SCHEMA, section.problems))])
GOOD = {"name": "nightly", "schedule": "0 2 * * *"}


def problems(*crons):
    found = SECTIONS.problems({"crons": list(crons)})
    return [f"{path}: {sentence}" for path, sentence in found]


def test_the_shape_of_existing_manifests_is_taken():
    cron = {
        "name": "sync-orders", "schedule": "*/5 * * * *", "timezone": "Europe/Paris",
        "method": "syncOrders", "payload": {"full": False}, "overlapPolicy": "queue",
    }  # fmt: skip
    assert problems(cron) == []
    [read] = section.read([cron])
    assert read.overlap == "queue"
    assert read.payload == {"type": "syncOrders", "full": False, "method": "syncOrders"}


def test_what_is_left_out_has_a_default():
    assert problems(GOOD) == []
    [read] = section.read([GOOD])
    assert (read.timezone, read.overlap, read.payload, read.enabled) == ("UTC", "skip", {}, True)
    assert section.read(None) == []


def test_a_type_of_the_payload_stays():
    [read] = section.read([{**GOOD, "method": "a", "payload": {"type": "b"}}])
    assert read.payload == {"type": "b", "method": "a"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedule": "0 25 * * *"}, "crons[0].schedule: bad hour in '0 25 * * *'"),
        ({"schedule": "* * * *"}, "crons[0].schedule: must be five fields"),
        ({"schedule": "0 0 30 2 *"}, "crons[0].schedule: bad day-of-month"),
        ({"schedule": 5}, "crons[0].schedule: "),
        ({"schedule": "*" * 101}, "crons[0].schedule: "),
        ({"timezone": "Mars/Base"}, "crons[0].timezone: 'Mars/Base' is no time zone"),
        ({"timezone": "../passwd"}, "crons[0].timezone: "),
        ({"overlap": "never"}, "crons[0].overlap: "),
        ({"overlap": "skip", "overlapPolicy": "skip"}, "crons[0].overlapPolicy: is given twice"),
        ({"name": "a b"}, "crons[0].name: "),
        ({"name": "a" * 65}, "crons[0].name: "),
        ({"payload": []}, "crons[0].payload: "),
        ({"payload": {"x": "y" * 64_000}}, "crons[0].payload: must be at most 64 kB"),
        ({"method": ""}, "crons[0].method: "),
        ({"enabled": "yes"}, "crons[0].enabled: "),
        ({"when": "now"}, "crons[0].when: is not known"),
    ],
)
def test_a_problem_names_its_place(wrong, said):
    [found] = problems({**GOOD, **wrong})
    assert found.startswith(said)


def test_names_are_once_in_an_app_and_crons_are_bounded():
    assert problems(GOOD, GOOD) == ["crons[1].name: the cron 'nightly' is declared twice"]
    many = [{**GOOD, "name": f"c{n}"} for n in range(101)]
    assert len(problems(*many)) == 1
    assert problems(*many[:-1]) == []
