"""Electricity bills of a 2.0TD supply, right to the cent."""
