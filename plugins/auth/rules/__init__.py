"""The rules for the names and the password of an account."""
