"""Accounts: who knows them, how they are made, and how they change."""
