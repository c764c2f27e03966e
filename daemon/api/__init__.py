"""The HTTP API: a process of its own on loopback that speaks to the daemon over its control socket, and to nothing else."""
