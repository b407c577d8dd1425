"""Short links: which addresses are safe to lead to, a link's id and document, and whether it still leads anywhere."""
