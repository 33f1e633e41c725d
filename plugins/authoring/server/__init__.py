"""Servers: connections to them, and the sign-ins that are kept for them."""
