"""The simulated Alpaca."""
