"""The reasons why a server does not start, alone and together."""

from kernel.errors import BootError, BootErrors


def test_several_reasons_can_be_read_as_one() -> None:
    reasons = [
        BootError("plugin shop", "it has no name", "give it one"),
        BootError("caudex.toml", "no such setting"),
        BootError("plugin shop", "it has no hooks"),
    ]
    together: BootError = BootErrors(reasons)
    assert together.errors == reasons
    assert together.where == "plugin shop, caudex.toml"
    assert together.problem == str(together)
    assert "it has no name; give it one" in together.problem
    assert "no such setting" in together.problem
    assert together.remedy == ""
