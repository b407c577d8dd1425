"""Adapters of the Documents, Analytics and Identity ports, and the embedded bus's queue; chosen in `app.py` only."""
