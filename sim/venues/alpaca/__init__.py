"""A simulated Alpaca: trading REST, market data REST, trade_updates and the market data stream."""
