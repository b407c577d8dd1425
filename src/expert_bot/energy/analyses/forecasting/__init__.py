"""The next day, month and 30 days, with intervals and their measured error."""
