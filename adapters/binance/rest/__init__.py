"""Binance over REST: the transport as this venue needs it, and requests sent side by side."""
