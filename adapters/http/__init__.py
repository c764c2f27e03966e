"""One HTTP transport for every REST venue: what a request came to is decided once, from bytes, before any library maps it."""
