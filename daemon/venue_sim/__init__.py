"""The venue simulators' processes; `tradingd venue-sim sim` is the simulated venue behind a socket."""
