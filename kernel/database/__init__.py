"""Connections, transactions, notifications and migrations."""
