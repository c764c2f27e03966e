"""What an answer to an order-changing request proves: each documented error code as an outcome and a reason.

Codes and names are those of the "RPC Error Codes" table of the API's documentation, version 2.1.1. A newer page of that
documentation ("Error Codes") gives other names to some of the same numbers (10002 "insufficient_funds" for "qty_too_low");
wherever both speak, both are refusals, so the outcome is the same, and the venue's own text is kept. Not verified against the
venue.

A code is REJECTED_PROVEN only where its description says that the request was turned away before it did anything; "rejects" is
the table's own word for that (11030), while its "errors" (11031) may be anything. What speaks of the server's own trouble
(internal_server_error, timed_out, temporarily_unavailable, retry …) proves nothing: UNKNOWN, as is every code that this table
does not have.
"""

from __future__ import annotations

from adapters.http.request import Outcome
from core.enums import Reason

# Turned away before it did anything; what the reason is to the strategy.
REJECTED: dict[int, tuple[str, Reason]] = {
    10000: ("authorization_required", Reason.CLOSED),
    10002: ("qty_too_low", Reason.BAD_QTY),
    10003: ("order_overlap", Reason.SELF_TRADE),
    10004: ("order_not_found", Reason.UNKNOWN_ORDER),
    10005: ("price_too_low", Reason.BAD_PRICE),
    10006: ("price_too_low4idx", Reason.BAD_PRICE),
    10007: ("price_too_high", Reason.BAD_PRICE),
    10009: ("not_enough_funds", Reason.FULL),
    10010: ("already_closed", Reason.UNKNOWN_ORDER),
    10011: ("price_not_allowed", Reason.BAD_PRICE),
    10012: ("book_closed", Reason.CLOSED),
    10013: ("pme_max_total_open_orders", Reason.FULL),
    10014: ("pme_max_future_open_orders", Reason.FULL),
    10015: ("pme_max_option_open_orders", Reason.FULL),
    10016: ("pme_max_future_open_orders_size", Reason.FULL),
    10017: ("pme_max_option_open_orders_size", Reason.FULL),
    10018: ("non_pme_max_future_position_size", Reason.FULL),
    10019: ("locked_by_admin", Reason.CLOSED),
    10020: ("invalid_or_unsupported_instrument", Reason.BAD_FIELD),
    10021: ("invalid_amount", Reason.BAD_QTY),
    10022: ("invalid_quantity", Reason.BAD_QTY),
    10023: ("invalid_price", Reason.BAD_PRICE),
    10024: ("invalid_max_show", Reason.BAD_QTY),
    10025: ("invalid_order_id", Reason.UNKNOWN_ORDER),
    10026: ("price_precision_exceeded", Reason.BAD_TICK),
    10027: ("non_integer_contract_amount", Reason.BAD_QTY),
    10028: ("too_many_requests", Reason.FULL),
    10029: ("not_owner_of_order", Reason.UNKNOWN_ORDER),
    10030: ("must_be_websocket_request", Reason.BAD_FIELD),
    10031: ("invalid_args_for_instrument", Reason.BAD_FIELD),
    10032: ("whole_cost_too_low", Reason.BAD_QTY),
    10033: ("not_implemented", Reason.BAD_FIELD),
    10034: ("trigger_price_too_high", Reason.BAD_TRIGGER),
    10035: ("trigger_price_too_low", Reason.BAD_TRIGGER),
    10036: ("invalid_max_show_amount", Reason.BAD_QTY),
    10037: ("non_pme_total_short_options_positions_size", Reason.FULL),
    10038: ("pme_max_risk_reducing_orders", Reason.FULL),
    10039: ("not_enough_funds_in_currency", Reason.FULL),
    10043: ("price_wrong_tick", Reason.BAD_TICK),
    10044: ("trigger_price_wrong_tick", Reason.BAD_TICK),
    10045: ("can_not_cancel_liquidation_order", Reason.CLOSED),
    10046: ("can_not_edit_liquidation_order", Reason.CLOSED),
    # "Reached limit of pending Matching Engine requests for user": it was not taken in.
    10047: ("matching_engine_queue_full", Reason.FULL),
    # "The requested operation is not available on this server".
    10048: ("not_on_this_server", Reason.CLOSED),
    10072: ("disabled_while_position_lock", Reason.CLOSED),
    11008: ("already_filled", Reason.UNKNOWN_ORDER),
    11013: ("max_spot_open_orders", Reason.FULL),
    11021: ("post_only_price_modification_not_possible", Reason.POST_ONLY),
    11022: ("max_spot_order_quantity", Reason.BAD_QTY),
    11029: ("invalid_arguments", Reason.BAD_FIELD),
    # "Some rejects which are not considered as very often, more info may be specified in <Reason>": a reject, whatever for.
    11030: ("other_reject", Reason.NONE),
    11035: ("no_more_triggers", Reason.FULL),
    11036: ("invalid_trigger_price", Reason.BAD_TRIGGER),
    11042: ("permission_denied", Reason.CLOSED),
    11043: ("bad_argument", Reason.BAD_FIELD),
    11044: ("not_open_order", Reason.UNKNOWN_ORDER),
    11046: ("outdated_instrument", Reason.CLOSED),
    11047: ("unsupported_arg_combination", Reason.BAD_FIELD),
    11048: ("wrong_max_show_for_option", Reason.BAD_QTY),
    11049: ("bad_arguments", Reason.BAD_FIELD),
    11050: ("bad_request", Reason.BAD_FIELD),
    11054: ("post_only_reject", Reason.POST_ONLY),
    11055: ("post_only_not_allowed", Reason.POST_ONLY),
    11098: ("account_locked", Reason.CLOSED),
    13004: ("invalid_credentials", Reason.CLOSED),
    13009: ("unauthorized", Reason.CLOSED),
    13010: ("value_required", Reason.BAD_FIELD),
    13016: ("invalid_input", Reason.BAD_FIELD),
    13019: ("orderbook_closed", Reason.CLOSED),
    13020: ("not_found", Reason.BAD_FIELD),
    13021: ("forbidden", Reason.CLOSED),
    13025: ("method_switched_off_by_admin", Reason.CLOSED),
    13030: ("mmp_trigger", Reason.CLOSED),
    13031: ("verification_required", Reason.CLOSED),
    13032: ("non_unique_order_label", Reason.DUPLICATE_ID),
    13403: ("scope_exceeded", Reason.CLOSED),
    # "Method is currently not available".
    13503: ("unavailable", Reason.CLOSED),
    # JSON-RPC 2.0's own: the request was never dispatched.
    -32700: ("parse_error", Reason.BAD_FIELD),
    -32601: ("method_not_found", Reason.BAD_FIELD),
    -32602: ("invalid_params", Reason.BAD_FIELD),
}

# Documented, and proof of nothing: the server's own trouble, or a word that fits before and after the fact.
UNPROVEN: dict[int, str] = {
    10001: "error",
    10040: "retry",
    10041: "settlement_in_progress",
    10066: "too_many_concurrent_requests",
    11031: "other_error",
    11051: "system_maintenance",
    11094: "internal_server_error",
    13008: "request_failed",
    13028: "temporarily_unavailable",
    13666: "request_cancelled_by_user",
    13777: "replaced",
    13888: "timed_out",
    -32600: "invalid_request",
    -32603: "internal_error",
}

ORDER_NOT_FOUND = 10004
TOO_MANY_REQUESTS = 10028
NOT_OPEN_ORDER = 11044
# The order that a cancel or an edit names is not open: what became of it has to be asked.
ORDER_IS_GONE = frozenset((10004, 10010, 11008, 11044))
# In the login: what no second try mends. To public/auth itself, and to the steps behind it (the key may not do what they ask
# for).
CREDENTIALS_REFUSED = frozenset((10000, 13004, 13009, 13021, 13403))
SCOPE_REFUSED = frozenset((13021, 13403))


def outcome_of_error(code: int) -> Outcome:
    """What an error answer to an order-changing request proves."""
    return Outcome.REJECTED_PROVEN if code in REJECTED else Outcome.UNKNOWN


def reason_of_error(code: int) -> Reason:
    known = REJECTED.get(code)
    return Reason.NONE if known is None else known[1]


# The token has expired or was revoked: log in again.
LOGIN_IS_OVER = frozenset((10000, 13004, 13009))
