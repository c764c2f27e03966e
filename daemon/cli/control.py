"""The verbs that talk to a running daemon: ask it over its control socket, print what it says."""

from __future__ import annotations

import argparse
import json
from typing import Any

from core.errors import RefusedError
from daemon.control.client import ask, find_daemon
from daemon.exit_codes import ExitCode
from daemon.one_line import one_line
from daemon.progress import brief, line_of


def status(options: argparse.Namespace) -> int:
    content = _ask(options, "GET", "/status")
    if options.json:
        print(json.dumps(content))
    else:
        line = summary_of(content) if "profit" in content else line_of(content)
        print(one_line(f"{content['run_id']}  {content['phase']}  {line}"))
    return ExitCode.OK


def halt(options: argparse.Namespace) -> int:
    content = _ask(options, "POST", "/halt", {"reason": options.reason, **_scope(options)})
    what = content.get("strategy_state") or content.get("trading_state", "halting")
    print(json.dumps(content) if options.json else one_line(f"{content['run_id']}  {what}: {content['reason']}"))
    return ExitCode.OK


def act(options: argparse.Namespace) -> int:
    """reduce, resume, flatten and stop."""
    body = {} if options.reason is None else {"reason": options.reason}
    if options.verb == "resume":
        body["to"] = options.to
    content = _ask(options, "POST", f"/{options.verb}", {**body, **_scope(options)})
    if options.json:
        print(json.dumps(content))
    else:
        more = {None: "", True: "  flat", False: "  NOT FLAT YET"}[content.get("flat")]
        of = f" {content['strategy_id']} {content['strategy_state']}; account" if "strategy_id" in content else ""
        print(one_line(f"{content['run_id']}  {options.verb}:{of} {content['trading_state']}{more}: {content['reason']}"))
    return ExitCode.MISMATCH if content.get("flat") is False else ExitCode.OK


def _scope(options: argparse.Namespace) -> dict[str, str]:
    strategy_id = getattr(options, "strategy", None)
    return {} if strategy_id is None else {"strategy_id": strategy_id}


def reconcile(options: argparse.Namespace) -> int:
    """Holds our books against the venue's now; exit code 8 where something still differs or the venue cannot be asked."""
    content = _ask(options, "POST", "/reconcile", {})
    if options.json:
        print(json.dumps(content))
    else:
        lines = [f"found: {text}" for text in content["facts"]] + [f"differs: {text}" for text in content["differences"]]
        lines += [f"not asked: {content['error']}"] if content["error"] else []
        for line in lines or ["orders, executions and positions agree"]:
            print(one_line(f"{content['run_id']}  {line}"))
    return ExitCode.MISMATCH if content["differences"] or content["error"] else ExitCode.OK


def correct(options: argparse.Namespace) -> int:
    """Puts right what no policy may, and says what was booked; whether the books agree then, `reconcile` says."""
    given = {"execution_id": options.execution, "price": options.price, "qty": options.qty}
    body = {name: text for name, text in given.items() if text is not None}
    content = _ask(
        options, "POST", "/correct", {"instrument_id": options.instrument, "reason": options.reason, **body, **_scope(options)}
    )
    print(json.dumps(content) if options.json else one_line(f"{content['run_id']}  corrected: {content['corrected']}"))
    return ExitCode.OK


def orders(options: argparse.Namespace) -> int:
    content = _ask(options, "GET", "/orders")
    rows = [
        (
            o["order_id"],
            o["strategy_id"],
            o["instrument_id"],
            o["side"],
            o["leaves_qty"],
            o["price"] or o["order_type"],
            o["status"],
        )
        for o in content["orders"]
    ]
    _print(options, content, ("order", "strategy", "instrument", "side", "leaves", "price", "status"), rows)
    return ExitCode.OK


def positions(options: argparse.Namespace) -> int:
    content = _ask(options, "GET", "/positions")
    rows = [
        (
            p["strategy_id"] or "(account)",
            p["instrument_id"],
            p["quantity"],
            p["average_price"],
            p["realized_pnl"],
            p["unrealized_pnl"],
            p["fees"],
            p["carry"],
            p["currency"],
        )
        for p in content["positions"]
    ]
    rows += [("(cash)", "", "", None, amount, None, "", "", currency) for currency, amount in content["cash"].items()]
    rows += [(f"({m['kind']})", "", "", None, None, None, "", m["amount"], m["currency"]) for m in content["cash_moved"]]
    titles = ("strategy", "instrument", "quantity", "average", "realized", "unrealized", "fees", "carry", "currency")
    _print(options, content, titles, rows)
    return ExitCode.OK


def strategies(options: argparse.Namespace) -> int:
    """What each may do, what it holds, and how much of its budget is used."""
    content = _ask(options, "GET", "/strategies")
    rows = []
    for strategy in content["strategies"]:
        state, budget = strategy["trading_state_own"], strategy["budget"] or {}
        if strategy["trading_state"] != state:
            state += f" (account {strategy['trading_state_account']})"
        profit = " ".join(f"{brief(money['net_pnl'])} {currency}" for currency, money in strategy["profit"].items())
        capital = " ".join(f"{brief(amount)} {currency}" for currency, amount in budget.get("capital", {}).items())
        rows += [
            (
                strategy["strategy_id"],
                state,
                item["instrument_id"],
                _of(item["position"], item["position_qty_max"]),
                f"+{item['open_buy_qty']} -{item['open_sell_qty']}",
                _of(item["open_orders"], budget.get("open_orders_max")),
                _of(capital or None, budget.get("capital_max")),
                profit or None,
            )
            for item in strategy["instruments"]
        ]
    titles = ("strategy", "state", "instrument", "position", "open", "orders", "capital", "profit")
    _print(options, content, titles, rows)
    return ExitCode.OK


def _of(used: Any, bound: Any) -> Any:
    return used if bound is None else f"{used or 0}/{bound}"


def fills(options: argparse.Namespace) -> int:
    content = _ask(options, "GET", "/fills")
    rows = [
        (f["time"], f["order_id"], f["instrument_id"], f["side"], f["quantity"], f["price"], f["liquidity_side"], f["commission"])
        for f in content["fills"]
    ]
    _print(options, content, ("time", "order", "instrument", "side", "quantity", "price", "liquidity", "commission"), rows)
    return ExitCode.OK


def summary_of(content: dict[str, Any]) -> str:
    """One line of a session that goes by the clock: state, market, position, profit."""
    parts = [content["trading_state"]]
    for key, item in content["instruments"].items():
        parts.append(f"{key} {item['bid'] or '-'}/{item['ask'] or '-'} position {item['position']}")
    parts += [f"profit {brief(money['net_pnl'])} {currency}" for currency, money in content["profit"].items()]
    parts.append(f"{content['fills']:,} fills  {content['open_orders']} open orders  {content['events']:,} events")
    return "  ".join(parts)


def _print(options: argparse.Namespace, content: dict[str, Any], titles: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """The answer as JSON, or as columns as wide as what is in them."""
    if options.json:
        print(json.dumps(content))
        return
    # Some of it is text of others: a client's own name of an order, a venue's words.
    lines = [titles, *[tuple("-" if cell is None else one_line(str(cell)) for cell in row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _ask(options: argparse.Namespace, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    code, content = ask(find_daemon(options.run), method, path, body)
    if code != 200:
        raise RefusedError(f"the daemon refused: {content.get('error', code)}")
    return content
