"""What files of rows say of themselves: names and types of columns, keys, and links."""
