"""`--hypothesis-profile=soak` runs the property tests for much longer."""

from hypothesis import settings

settings.register_profile("soak", max_examples=2000, deadline=None)
