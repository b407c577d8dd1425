"""Pictures: in the terminal with rich, as PNG with matplotlib (the extra `plot`)."""
