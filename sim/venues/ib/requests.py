"""What a client asks for, taken from its fields. Pure; raises BrokenError for what is no request.

The order of fields is the protocol's own, with those that only some server versions have.
"""

from __future__ import annotations

import msgspec

from sim.venues.ib.wire import UNSET, BrokenError, Reader


class Wanted(msgspec.Struct, frozen=True):
    """A contract as a client names it; empty where it does not say."""

    con_id: int = 0
    symbol: str = ""
    security_type: str = ""
    expiry: str = ""
    strike: str = ""
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    order_id: int
    contract: Wanted
    action: str
    total: str
    order_type: str
    limit_price: str
    aux_price: str
    time_in_force: str
    oca_group: str
    account: str
    open_close: str
    reference: str
    is_transmitted: bool
    parent_id: int
    display: int
    trigger_method: int
    is_outside_hours: bool
    is_hidden: bool
    good_till: str
    is_e_trade_only: bool
    is_what_if: bool


def contract(read: Reader) -> Wanted:
    con_id = read.number()
    return Wanted(con_id, *read.texts(11))


def placed(read: Reader, version: int) -> Placed:
    order_id = read.number()
    wanted = contract(read)
    if wanted.security_type == "BAG":
        raise BrokenError("combinations are not simulated")
    read.texts(2)  # secIdType, secId
    action, total, order_type, limit_price, aux_price, time_in_force, oca_group, account, open_close = read.texts(9)
    read.number()  # origin
    reference = read.text()
    is_transmitted, parent_id = read.flag(), read.number()
    read.texts(2)  # blockOrder, sweepToFill
    display, trigger_method, is_outside_hours, is_hidden = read.number(), read.number(), read.flag(), read.flag()
    read.texts(3)  # shares allocation, discretionaryAmt, goodAfterTime
    good_till = read.text()
    read.texts(3 + (version < 177))  # faGroup, faMethod, faPercentage, faProfile
    read.texts(10)  # modelCode … percentOffset
    is_e_trade_only = read.flag()
    read.texts(11)  # firmQuoteOnly … volatilityType
    if read.text():  # deltaNeutralOrderType
        raise BrokenError("delta-neutral orders are not simulated")
    read.texts(7)  # deltaNeutralAuxPrice … scaleSubsLevelSize
    increment = read.text()
    if increment.strip("0.") and increment != UNSET:
        raise BrokenError("scale orders are not simulated")
    read.texts(3)  # scaleTable, activeStartTime, activeStopTime
    if read.text():  # hedgeType
        read.text()
    read.texts(4)  # optOutSmartRouting, clearingAccount, clearingIntent, notHeld
    if read.flag() or read.text():  # deltaNeutralContract, algoStrategy
        raise BrokenError("algorithms and delta-neutral contracts are not simulated")
    read.text()  # algoId
    is_what_if = read.flag()
    read.texts(4)  # orderMiscOptions, solicited, randomizeSize, randomizePrice
    if read.number():
        raise BrokenError("conditions are not simulated")
    # adjusted*, lmtPriceOffset, extOperator, soft dollars, cashQty, mifid*, and four flags
    read.texts(19)
    for since in (158, 160, 162, 166, 169):
        if version >= since:
            read.text()
    if read.left:
        raise BrokenError(f"an order with {read.left} fields too many")
    return Placed(
        order_id=order_id,
        contract=wanted,
        action=action,
        total=total,
        order_type=order_type,
        limit_price=limit_price,
        aux_price=aux_price,
        time_in_force=time_in_force,
        oca_group=oca_group,
        account=account,
        open_close=open_close,
        reference=reference,
        is_transmitted=is_transmitted,
        parent_id=parent_id,
        display=display,
        trigger_method=trigger_method,
        is_outside_hours=is_outside_hours,
        is_hidden=is_hidden,
        good_till=good_till,
        is_e_trade_only=is_e_trade_only,
        is_what_if=is_what_if,
    )
