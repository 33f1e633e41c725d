"""The queue of each webhook: what is put into it, and how it is sent."""
