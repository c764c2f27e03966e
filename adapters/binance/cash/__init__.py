"""Money that moves without a fill: when the venue is asked about it."""
