"""`doctor` warns of a server's port that the system gives to connections."""

from pathlib import Path

import pytest

from plugins.system.examination.chosen_ports import chosen_port_findings


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    (tmp_path / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "ip_local_reserved_ports").write_text("8080,40000-40100\n")
    return tmp_path


@pytest.mark.parametrize("port", [32_768, 39_999, 40_101, 60_999])
def test_a_port_of_that_range_is_named_with_a_remedy(settings: Path, port: int) -> None:
    [finding] = chosen_port_findings(port, settings)
    assert finding.state == "warn"
    assert finding.text == (
        f"{port} is among the ports that the system gives to connections, 32768 to 60999, so it"
        " may be taken when the server starts; choose one below 32768, or reserve it:"
        f" sysctl net.ipv4.ip_local_reserved_ports={port}"
    )


@pytest.mark.parametrize("port", [9100, 32_767, 61_000, 40_000, 40_100])
def test_another_port_and_one_that_is_reserved_are_not(settings: Path, port: int) -> None:
    assert list(chosen_port_findings(port, settings)) == []


def test_a_system_without_such_a_setting_has_no_finding(tmp_path: Path) -> None:
    assert list(chosen_port_findings(40_000, tmp_path)) == []
    (tmp_path / "ip_local_port_range").write_text("32768 60999\n")
    assert len(list(chosen_port_findings(40_000, tmp_path))) == 1
