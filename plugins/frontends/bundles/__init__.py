"""Bundles: the files of a frontend as they are sent, in one file."""
