"""`caudex serve --workers 2`: a scrape reaches any process, and is notified of all."""

from __future__ import annotations

import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as read

from tests.kernel.processes import Served, write_config
from tests.waiting import eventually

pytestmark = pytest.mark.slow

TOKEN = "a-token-for-the-scraper"
REQUESTS = 40


def counted(served: Served) -> dict[str, float]:
    """Requests for /health by process."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    answer = httpx.get(f"{served.url}/metrics", headers=headers, timeout=40)
    assert answer.status_code == 200, answer.text
    return {
        sample.labels["process"]: sample.value
        for family in read(answer.text)
        for sample in family.samples
        if sample.name == "caudex_http_requests_total" and sample.labels["route"] == "/health"
    }


def test_any_process_reports_on_every_process_of_a_server(database, tmp_path):
    tree = {
        "server": {"data_dir": str(tmp_path / "data")},
        "database": {"url": database},
        "plugins.metrics": {"token": TOKEN, "every": 0.2},
    }
    write_config(tmp_path, tree)
    with Served("--workers", "2", cwd=tmp_path) as served:
        sent, deadline = 0, time.monotonic() + 30
        while sent < REQUESTS or len(counted(served)) < 2:
            assert time.monotonic() < deadline, counted(served)
            assert served.get("/health").status_code == 200
            sent += 1

        def all_know() -> bool:
            sums = {sum(counted(served).values()) for _ in range(10)}
            assert max(sums) <= sent  # what is not reported yet is less, and nothing counts twice
            return sums == {sent}

        eventually(all_know, 30, lambda: (sent, counted(served)))
    assert list((tmp_path / "data" / "metrics").iterdir()) == []
