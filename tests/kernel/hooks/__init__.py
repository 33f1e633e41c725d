"""Tests of `kernel/hooks`."""
