"""The promises of STORAGE."""
