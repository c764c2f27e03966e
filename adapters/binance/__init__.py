"""Binance spot, USDⓈ-M and COIN-M futures: bytes in, rows out; no sockets here."""
