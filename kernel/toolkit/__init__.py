"""Pieces that every plugin needs and none should write."""
