"""The files of the console: how they are sent, what they weigh, and what of them is vendored."""
