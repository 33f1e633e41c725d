"""Backups that core admins make, verify and download over HTTP."""
