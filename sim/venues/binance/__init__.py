"""A simulated Binance, spot or USDⓈ-M futures, as its documentation has it. Pure; shares no code with the adapter."""
