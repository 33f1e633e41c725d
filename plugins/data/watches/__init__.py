"""Watches: which events the changes of records are for a caller; see `WATCHES`."""
