"""Alpaca (US equities): trading REST, trade_updates and the market data stream."""
