"""The promises of what reads the trail."""
