"""A printed bill, recomputed line by line, and what explains each difference."""
