"""Statements of one entity that read, and parts of all statements."""
