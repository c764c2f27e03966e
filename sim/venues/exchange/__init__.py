"""Matching and accounts for simulated venues, on the native book: no wire, no venue's words. Pure."""
