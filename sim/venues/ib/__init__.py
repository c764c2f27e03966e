"""A simulated gateway of Interactive Brokers, written from the protocol's documentation and from nothing of the adapter's."""
