"""The trail in the order to follow it: positions, pages from any position on, and live ones."""
