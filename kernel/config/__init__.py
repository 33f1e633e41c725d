"""Configuration and the log."""
