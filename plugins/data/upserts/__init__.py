"""Upserts: rows that create a record or meet the one that has their key."""
