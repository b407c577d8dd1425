"""How a home uses energy: when, how much, beside other homes, and what could be moved."""
