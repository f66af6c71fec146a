"""A file a subject. Each part takes the ground and the results."""
