"""The promises of each service, as tests that run against any engine.

    from kernel.testing.conformance import VaultConformance


    class TestMine(VaultConformance):
        provider = "mine"
        overrides = {"plugins": {"mine": {"module": "mine_vault"}}}

pytest collects the subclass and runs every promise against a real server on which `[services]`
chooses that engine. `overrides` is merged into the server's configuration.
"""

from pathlib import Path

import pytest

# Before the import, so that a failed assertion shows the values.
pytest.register_assert_rewrite(
    *(f"{__name__}.{path.stem}" for path in Path(__file__).parent.glob("[!_]*.py")),
    f"{__name__}.files.storage",
    f"{__name__}.trail.changes",
)

from kernel.testing.conformance.access import AccessConformance  # noqa: E402
from kernel.testing.conformance.files.storage import StorageConformance  # noqa: E402
from kernel.testing.conformance.identity import IdentityConformance  # noqa: E402
from kernel.testing.conformance.jobs import JobsConformance  # noqa: E402
from kernel.testing.conformance.kit import Conformance  # noqa: E402
from kernel.testing.conformance.records import RecordsConformance  # noqa: E402
from kernel.testing.conformance.sessions import SessionsConformance  # noqa: E402
from kernel.testing.conformance.trail.changes import ChangesConformance  # noqa: E402
from kernel.testing.conformance.vault import VaultConformance  # noqa: E402

__all__ = [
    "AccessConformance", "ChangesConformance", "Conformance", "IdentityConformance",
    "JobsConformance", "RecordsConformance", "SessionsConformance", "StorageConformance",
    "VaultConformance",
]  # fmt: skip
