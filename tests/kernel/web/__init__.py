"""Tests of `kernel/web`."""
