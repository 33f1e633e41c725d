"""Imports: the rows of a file become records, and a report names what is wrong."""
