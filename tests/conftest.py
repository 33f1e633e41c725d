"""Profiles of the property tests."""

import os

from hypothesis import settings

# The same examples in every run of CI: a change is judged by what it changed.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("soak", max_examples=2000, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")
