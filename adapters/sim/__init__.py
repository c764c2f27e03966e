"""The simulated venue in a process of its own (tradingd venue-sim), reached over a socket."""
