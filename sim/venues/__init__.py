"""Venue simulators: one package each, speaking that venue's own wire protocol on the native book. Pure."""
