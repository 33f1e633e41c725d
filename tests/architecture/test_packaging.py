"""What is installed is ours: no other distribution brings a package of these names."""

import tomllib
from importlib.metadata import distributions
from pathlib import Path

import caudex
from kernel import public

ROOT = Path(__file__).parents[2]
OURS = ("kernel", "plugins", "contrib", "caudex")


def test_no_other_distribution_owns_files_of_our_packages() -> None:
    for distribution in distributions():
        if distribution.metadata["Name"] == "caudex":
            continue
        for file in distribution.files or ():
            first = file.parts[0].removesuffix(".py")
            assert first not in OURS, f"{distribution.metadata['Name']} brings {file}"


def test_our_packages_are_imported_from_here() -> None:
    for name in OURS:
        module = __import__(name)
        assert Path(module.__file__ or "").is_relative_to(ROOT), name


def test_authors_get_every_public_name_from_caudex() -> None:
    assert set(public.__all__) <= set(dir(caudex))
    assert caudex.Plugin is public.Plugin


def test_the_lock_names_no_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "--hash=sha256:" in text
        assert "://" not in text


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    for requirement in project["dependencies"]:
        name = requirement.partition(">")[0].partition("[")[0]
        assert f"\n{name}" in f"\n{locked}", name
