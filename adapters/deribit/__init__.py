"""Deribit: JSON-RPC 2.0 over one WebSocket. Wire and session are pure; docs/VENUES-DERIBIT.md says what is supported."""
