"""Tests of `kernel/loading`."""
