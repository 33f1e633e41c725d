"""The kits of kernel.conformance: the built-in engines keep every promise, wrong ones do not."""
