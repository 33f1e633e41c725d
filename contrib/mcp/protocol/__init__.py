"""The protocol: envelopes of messages, origins of pages, and the size of results."""
