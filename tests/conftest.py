"""Profiles of the property tests, and what servers of the tests inherit."""

import os
import signal

from hypothesis import settings

# The same examples in every run of CI: a change is judged by what it changed.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("soak", max_examples=2000, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

# A shell starts what runs in its background with SIGINT ignored. Servers rightly keep to that, but
# here they are to be told to end by it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
