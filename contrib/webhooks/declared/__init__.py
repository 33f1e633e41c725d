"""Webhooks that manifests declare: the section, what an install stores, names that change."""
