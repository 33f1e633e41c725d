"""Writes: bodies to rows, single statements, transactions, many records at once."""
