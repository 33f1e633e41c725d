"""Reads manifests and reports everything that is wrong with one."""
