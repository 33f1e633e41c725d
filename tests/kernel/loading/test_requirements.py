"""An installed plugin whose distribution needs what this environment does not have."""

import pytest

from kernel import VERSION
from kernel.errors import BootErrors
from kernel.loading.requirements import unmet
from kernel.loading.sources import Source, plugin_class

WHERE = "plugin mailer, caudex-plugin-mailer 1.2.0"
MET = [
    f"caudex-core>={VERSION}", "Caudex.Core", "msgspec>=0.1", "no-such-package; extra == 'x'",
    "no-such-package; python_version < '3'",
]  # fmt: skip
UNMET = {
    "caudex-core>=99": (
        f"{WHERE}: needs caudex-core>=99, and {VERSION} is installed; "
        "install a version of the plugin for this Caudex, or another Caudex"
    ),
    "no-such-package>=1": (
        f"{WHERE}: needs no-such-package>=1, which is not installed; "
        "install it: pip install 'no-such-package>=1'"
    ),
}


def test_what_is_met_is_no_error() -> None:
    assert list(unmet(WHERE, MET)) == []


@pytest.mark.parametrize("requirement", UNMET)
def test_what_is_not_met_is_reported_before_the_import(requirement: str) -> None:
    def load() -> type:
        raise AssertionError("it is imported")

    source = Source("mailer", "caudex-plugin-mailer 1.2.0", load, False, [*MET, requirement])
    with pytest.raises(BootErrors) as caught:
        plugin_class(source)
    assert str(caught.value) == UNMET[requirement]


def test_another_version_and_what_cannot_be_read_are_reported() -> None:
    [version, words] = unmet(WHERE, ["msgspec<0.1", "what is this?"])
    assert "needs msgspec<0.1, and " in str(version)
    assert "pip install 'msgspec<0.1'" in str(version)
    assert "'what is this?', which cannot be read" in str(words)
