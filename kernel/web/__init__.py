"""Routes, requests, replies, limits and the HTTP protocol."""
