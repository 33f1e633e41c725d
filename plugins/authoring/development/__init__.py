"""`caudex app dev`: a server for one project, and a deploy at each save."""
