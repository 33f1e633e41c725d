"""Keeping: which records hold files, and what becomes of files that none holds."""
