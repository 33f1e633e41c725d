"""Tests of `kernel/cli`."""
