"""The ledger recomputed from the fills table equals the Trader's books for any fills, and a difference of one unit is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.enums import InstrumentClass, LiquiditySide, Side
from core.events import OrderFilled
from core.instruments import Instrument
from core.risk import InstrumentLimits, RateLimit
from core.trader import Trader
from daemon.ledger_check import check_ledger
from daemon.run_folder import RunFolder
from sim.recorder import FillRow


def instrument(kind: str) -> Instrument:
    inverse = kind == "inverse"
    return Instrument(
        instrument_id=f"{kind.upper()}.SIM",
        instrument_class=InstrumentClass.SPOT if kind == "spot" else InstrumentClass.PERPETUAL,
        base_currency="BTC",
        quote_currency="USD",
        settlement_currency="BTC" if inverse else "USD",
        price_scale=1,
        qty_scale=0 if inverse else 8,
        multiplier=100 if inverse else 1,
        is_inverse=inverse,
    )


INSTRUMENTS = [instrument(kind) for kind in ("spot", "linear", "inverse")]
CASH = {"USD": 10**15, "BTC": 10**10}
FILLS = st.lists(
    st.tuples(
        st.sampled_from(INSTRUMENTS),
        st.sampled_from(["a", "b"]),
        st.sampled_from(list(Side)),
        st.integers(500_000, 700_000),
        st.integers(1, 300),
        st.integers(-(10**6), 10**6),
    ),
    max_size=40,
)


def trader() -> Trader:
    limits = InstrumentLimits(order_qty_max=1, order_notional_max=1, position_qty_max=1, price_collar_ppm=1)
    return Trader(
        instruments=INSTRUMENTS,
        cash=CASH,
        limits={each.instrument_id: limits for each in INSTRUMENTS},
        rate=RateLimit(orders_max=1),
        run_number=1,
    )


def booked(folder: Path, fills: list[tuple[Instrument, str, Side, int, int, int]]) -> tuple[Trader, Path]:
    """A Trader that has booked the fills, and their table."""
    made = trader()
    rows = []
    for number, (traded, strategy_id, side, price, qty, commission) in enumerate(fills):
        key = traded.instrument_id
        fee_currency = traded.settlement_currency
        fill = OrderFilled(1, 1, number + 1, key, str(number), side, price, qty, 0, LiquiditySide.MAKER, commission, fee_currency)
        made.portfolio.book(strategy_id, fill)
        rows.append(
            FillRow(
                ts_event=1,
                ts_init=1,
                strategy_id=strategy_id,
                client_order_id=number + 1,
                instrument_id=key,
                execution_id=str(number),
                side=side.name,
                price=price,
                qty=qty,
                price_scale=traded.price_scale,
                qty_scale=traded.qty_scale,
                liquidity_side="MAKER",
                commission=commission,
                commission_currency=fee_currency,
                position_qty=0,
                mid_twice=None,
                mid_twice_later=[None, None, None],
            )
        )
    run_folder = RunFolder(folder / "run")
    run_folder.add_fills(rows)
    run_folder.close_tables()
    return made, run_folder.path / "fills.parquet"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILLS)
def test_any_fills_agree(tmp_path: Path, fills: list[tuple[Instrument, str, Side, int, int, int]]) -> None:
    made, table = booked(tmp_path, fills)
    assert check_ledger(made, table, CASH) == "ok"


@pytest.mark.parametrize("what", ["qty", "value_open", "realized_pnl", "fees"])
def test_one_unit_off_is_found(tmp_path: Path, what: str) -> None:
    made, table = booked(tmp_path, [(INSTRUMENTS[0], "a", Side.BUY, 600_000, 100, 5)])
    position = made.portfolio.by_instrument["SPOT.SIM"]
    setattr(position, what, getattr(position, what) + 1)
    assert check_ledger(made, table, CASH).startswith("SPOT.SIM: quantity, cost, profit and fees are (")


def test_cash_that_differs_is_found(tmp_path: Path) -> None:
    made, table = booked(tmp_path, [(INSTRUMENTS[2], "a", Side.SELL, 600_000, 100, 5)])
    made.portfolio.cash["BTC"] += 1
    assert check_ledger(made, table, CASH) == f"cash in BTC is {10**10 - 4}, but the fills give {10**10 - 5}"
