"""Manifests and records that go between a server and files."""
