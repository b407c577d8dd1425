"""What was unusual: days, nights, levels, data."""
