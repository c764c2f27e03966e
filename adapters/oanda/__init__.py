"""OANDA v20 (FX): REST with numbered transactions, a stream of them, and a stream of prices."""
