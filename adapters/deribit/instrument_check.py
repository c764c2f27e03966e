"""A configured instrument held against the venue's own rules: every difference in words, both values. Pure."""

from __future__ import annotations

from core.instruments import Instrument

RULES = (
    "instrument_class",
    "base_currency",
    "quote_currency",
    "settlement_currency",
    "is_inverse",
    "multiplier",
    "price_scale",
    "qty_scale",
)


def differences(configured: Instrument, found: Instrument) -> list[str]:
    """Empty where an order that follows the one follows the other. Fees are no rules: they depend on the account."""
    wrong = []
    for name in RULES:
        here, there = getattr(configured, name), getattr(found, name)
        if here != there:
            wrong.append(_says(name, str(getattr(here, "value", here)), str(getattr(there, "value", there))))
    if wrong:
        return wrong  # prices and quantities of different scales are not to be compared
    if configured.tick % found.tick:
        wrong.append(_says("tick", configured.format_price(configured.tick), found.format_price(found.tick)))
    if configured.lot % found.lot:
        wrong.append(_says("lot", configured.format_qty(configured.lot), found.format_qty(found.lot)))
    if configured.qty_min < found.qty_min:
        wrong.append(_says("qty_min", configured.format_qty(configured.qty_min), found.format_qty(found.qty_min)))
    return wrong


def _says(name: str, here: str, there: str) -> str:
    return f"{name} is {here} in the configuration and {there} at the venue"
