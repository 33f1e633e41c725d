"""Brings the tables of an app to what its manifest declares."""
