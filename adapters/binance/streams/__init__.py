"""The adapter's WebSocket connections: market data and the account's own events."""
