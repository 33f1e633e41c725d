"""Components that many plugins need."""
