"""Readers: logins for BI tools, which read the tables of one app."""
