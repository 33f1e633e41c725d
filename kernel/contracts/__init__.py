"""Protocols, service keys and Structs that plugins share; no behaviour."""
