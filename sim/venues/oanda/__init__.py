"""A simulator of OANDA's v20 API: REST, a stream of transactions, a stream of prices."""
