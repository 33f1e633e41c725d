"""Invites: links with which people make their own accounts, once."""
