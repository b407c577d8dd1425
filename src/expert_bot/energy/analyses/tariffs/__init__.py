"""Offers, through the user's own consumption."""
