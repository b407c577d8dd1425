"""How much power a home needs to contract."""
