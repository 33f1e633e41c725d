"""Tests of `kernel/config`."""
