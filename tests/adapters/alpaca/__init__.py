"""The Alpaca adapter."""
