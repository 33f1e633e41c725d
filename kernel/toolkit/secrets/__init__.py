"""Keys, and what they encrypt and sign."""
