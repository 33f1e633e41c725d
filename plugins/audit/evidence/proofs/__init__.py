"""Proofs that are checked without a server."""
