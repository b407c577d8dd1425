"""What to do first, from all analyses of a home."""
