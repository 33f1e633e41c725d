"""Small broken plugins, and what a running server says of each."""
