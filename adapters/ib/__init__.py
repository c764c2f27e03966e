"""Interactive Brokers through TWS or IB Gateway (docs/VENUES-IB.md)."""
