"""What protects accounts beside their passwords: the setup token, and the second factor."""
