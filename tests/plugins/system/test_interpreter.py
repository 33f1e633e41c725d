"""Builds of Python distinguished by what they say of themselves."""

import sysconfig

import pytest

from plugins.system.examination import diagnosis

FLAG = "-fprofile-use -fprofile-correction"
CLANG = "-fprofile-instr-use=code.profclangd"


@pytest.mark.parametrize(
    ("reported", "quick"),
    [
        ({"PGO_PROF_USE_FLAG": FLAG, "CONFIG_ARGS": "'--enable-shared'"}, False),
        ({"PGO_PROF_USE_FLAG": CLANG, "CONFIG_ARGS": ""}, False),
        ({"PGO_PROF_USE_FLAG": FLAG, "CONFIG_ARGS": "'--enable-optimizations'"}, True),
        ({"PGO_PROF_USE_FLAG": FLAG, "PY_CORE_CFLAGS": f"-O3 {FLAG} -Wall"}, True),
        ({"PGO_PROF_USE_FLAG": "", "CONFIG_ARGS": "'--prefix=/usr'"}, True),
        ({}, True),
    ],
    ids=["plain", "clang", "configured", "by its flags", "debian", "nothing reported"],
)
def test_a_build_without_a_profile_is_noticed(reported, quick):
    assert diagnosis.profiled(reported) is quick


@pytest.mark.parametrize(
    ("flag", "good", "word"), [(FLAG, False, "--enable-optimizations"), ("", True, "3.")]
)
def test_the_remark_is_advice(monkeypatch, flag, good, word):
    reported = {"PGO_PROF_USE_FLAG": flag}
    monkeypatch.setattr(sysconfig, "get_config_vars", lambda: reported)
    remark = diagnosis.python_build()
    assert (remark.name, remark.state) == ("python", "ok" if good else "warn")
    assert word in remark.text
