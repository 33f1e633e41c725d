"""Reads: records, pages, what is selected of them, aggregates, searches."""
