"""Regulated values as dated tables: each with its norm, its validity and its status."""
