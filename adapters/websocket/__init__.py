"""WebSocket connections of every venue, client side: one link, bounded in time and bytes, that says how it ended."""
