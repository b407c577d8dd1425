"""What a household is told from its curve: one module per analysis, pure functions."""
