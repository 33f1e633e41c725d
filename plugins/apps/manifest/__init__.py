"""Reads manifests and reports all problems of one."""
