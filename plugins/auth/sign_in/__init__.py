"""What protects accounts beside their passwords: limits, the setup token, the second factor."""
