"""What is kept of a query: links that show records by it, and names in it that change."""
