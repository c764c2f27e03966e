"""Sources of recorded market data: nobody trades here."""
