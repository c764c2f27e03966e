"""Any other exchange that ccxt knows, by polling: ccxt signs and parses, our transport carries (docs/VENUES-CCXT.md)."""
