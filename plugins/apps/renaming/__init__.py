"""Entities and fields that a manifest gives another name: what they were is what they are."""
