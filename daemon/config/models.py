"""The configuration as pydantic models: every key there is, its unit, its default and one sentence about it.

These models are read once at start; what runs later are the core structs that daemon/config/build.py makes of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from daemon.config.models_api import Api, Client
from daemon.config.models_connections import Connection
from daemon.config.models_guardian import Alerts, Guardian
from daemon.config.models_promotion import Promotion
from daemon.config.section import Currency, InstrumentId, Name, PathText, Section
from daemon.config.text_types import (
    Conversion,
    Day,
    Decimal,
    Duration,
    FeeRate,
    Moment,
    NotNegative,
    Percentage,
    Positive,
    PositiveDuration,
    Sigma,
    TimeOfDay,
    Zone,
    moving_pace,
)


class Run(Section):
    name: Name = Field(description="what the run is called; part of its run_id")
    mode: Literal["backtest", "paper", "live"] = Field(
        default="backtest",
        description="backtest: event time, simulated venue; paper: the clock, simulated venue; live: the clock, `connections`",
    )
    seed: int = Field(default=1, ge=0, lt=1 << 63, description="seed of everything that is drawn at random")
    pace: Annotated[str, StringConstraints(pattern=r"^(full|\d{1,6}(\.\d{1,3})?x)$"), AfterValidator(moving_pace)] = Field(
        default="full", description='"full": as fast as it goes; "10x": ten simulated seconds in one real second'
    )
    journal: bool = Field(default=True, description="keep every event and command in the run folder")
    runs_folder: PathText = Field(default="runs", description="where run folders go, relative to the working directory")


class Account(Section):
    cash: dict[Currency, Decimal] = Field(default_factory=dict, description="cash at the start, by currency")


class InstrumentTable(Section):
    instrument_id: InstrumentId = Field(description="SYMBOL.VENUE, for example BTCUSDT-PERP.BINANCE")
    class_: Literal["spot", "equity", "perpetual", "future", "option", "fx", "cfd"] = Field(
        alias="class", description="spot and equity fills pay the notional, the others settle profit and loss"
    )
    base_currency: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9._-]{1,20}$")] = Field(description="what is traded")
    quote_currency: Currency = Field(description="what prices are in")
    settlement_currency: Currency | None = Field(default=None, description="absent: the quote currency, or the base if inverse")
    price_scale: int = Field(ge=0, le=18, description="decimals of a price inside")
    qty_scale: int = Field(ge=0, le=18, description="decimals of a quantity inside")
    tick: Positive = Field(description="smallest price step, in quote currency")
    lot: Positive = Field(description="smallest quantity step")
    qty_min: Positive | None = Field(default=None, description="smallest order; absent: one lot")
    qty_max: Positive | None = Field(default=None, description="largest order the venue takes")
    price_min: Positive | None = Field(default=None, description="lowest price; absent: one tick")
    price_max: Positive | None = Field(default=None, description="highest price the venue takes")
    multiplier: int = Field(default=1, ge=1, description="value of one unit per point; of one contract if inverse")
    inverse: bool = Field(default=False, description="worth `multiplier` of the quote currency, settles in the base currency")
    maker_fee: FeeRate = Field(
        default="0", description="of a fill that rested, of its notional: '0.02%', '2bp', '0.0002'; negative: a rebate"
    )
    taker_fee: FeeRate = Field(default="0", description="of a fill that took what rested")


class Instruments(Section):
    include: list[PathText] = Field(
        default_factory=list, description="files with one instrument each, relative to this file; ${NAME} and ~ too"
    )
    inline: list[InstrumentTable] = Field(default_factory=list, description="instruments written here")


# Data sources. `instrument_id` says whose market the rows are.


class FlowData(Section):
    format: Literal["flow"] = Field(description="'flow'")
    instrument_id: InstrumentId = Field(description="whose market this is")
    start: Moment = Field(description="simulated start, with its offset: 2026-01-05T14:30:00Z")
    duration: PositiveDuration = Field(description="simulated length")
    price_start: Positive = Field(description="first fair value, on the tick")
    feed_latency: Duration = Field(default="0ns", description="from the venue's stamp to ours")
    market: dict[str, Any] = Field(default_factory=dict, description="`preset` and order-flow settings (docs/MARKET-MODEL.md)")


class LobsterData(Section):
    format: Literal["lobster"] = Field(description="'lobster'")
    instrument_id: InstrumentId = Field(description="whose market this is")
    messages: PathText = Field(description="the message file; .gz is fine")
    book: PathText | None = Field(default=None, description="the order-book file, to seed what rested before the first message")
    session_date: Day | None = Field(default=None, description="absent: taken from the file's name")
    feed_latency: Duration = Field(default="0ns", description="from the venue's stamp to ours")


class BinanceData(Section):
    format: Literal["binance"] = Field(description="'binance'")
    instrument_id: InstrumentId = Field(description="whose market this is")
    files: list[PathText] = Field(min_length=1, description="recordings that continue each other, in order")
    symbol: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{2,24}$")] = Field(description="the venue's name: BTCUSDT")
    use_book_ticker: bool = Field(
        default=True, description="l2: let bookTicker move the best prices too: some ms fresher than diffs"
    )
    start_from_diffs: bool = Field(default=False, description="begin with an empty book at the first diff, without a snapshot")
    base_latency: PositiveDuration = Field(
        default="1ms", description="smallest feed latency once the clocks are put in order: the venue's clock is shifted to it"
    )


class Table(Section):
    """What every CSV or Parquet table may need to be told."""

    instrument_id: InstrumentId = Field(description="whose market this is")
    file: PathText = Field(description="CSV or Parquet, columns as in docs/DATA.md; .gz is fine")
    columns: dict[str, str] = Field(default_factory=dict, description="our name -> the file's, where they differ")
    zone: Zone | None = Field(default=None, description="tz database name of the zone that stamps without an offset are meant in")
    raw_integers: bool = Field(default=False, description="integer columns hold points and units already")
    qty_cut: bool = Field(default=False, description="digits of a quantity beyond its scale are cut off instead of refused")


class BarsData(Table):
    format: Literal["bars"] = Field(description="'bars'")
    interval: PositiveDuration = Field(description="length of a bar")
    stamp: Literal["open", "close"] = Field(default="open", description="which end of the bar the file's times mark")


class TradesData(Table):
    format: Literal["trades"] = Field(description="'trades'")


class QuotesData(Table):
    format: Literal["quotes"] = Field(description="'quotes'")
    qty_default: Positive | None = Field(default=None, description="size of a best price in a file without sizes")


DataSource = Annotated[FlowData | LobsterData | BinanceData | BarsData | TradesData | QuotesData, Field(discriminator="format")]


# The simulated venue.


class ConstantLatency(Section):
    model: Literal["constant"] = Field(description="'constant'")
    entry: Duration = Field(description="from us to the venue")
    response: Duration = Field(description="from the venue back to us")


class LogNormalLatency(Section):
    model: Literal["lognormal"] = Field(description="'lognormal'")
    entry: PositiveDuration = Field(description="median, from us to the venue")
    response: PositiveDuration = Field(description="median, from the venue back to us")
    entry_sigma: Sigma = Field(default="0.25", description="standard deviation of ln(latency), 0 to 10")
    response_sigma: Sigma = Field(default="0.25", description="the same on the way back")


class TableLatency(Section):
    model: Literal["table"] = Field(description="'table'")
    file: PathText = Field(description="rows of ts in ns, entry_ns, response_ns, without a header; interpolated in between")


Latency = Annotated[ConstantLatency | LogNormalLatency | TableLatency, Field(discriminator="model")]


class BarFills(Section):
    """What fills an order inside a bar (sim/bar_matching.py)."""

    slippage_ticks: int = Field(default=1, ge=0, le=10_000, description="paid by market and stop orders")
    fills_on_touch: bool = Field(
        default=False, description="a limit order fills when its price is touched, not only traded through"
    )
    gap_improvement: bool = Field(default=True, description="an open beyond a limit order's price fills it at the open")
    participation: Percentage = Field(default="0%", description="largest share of a bar's volume; '0%': volume does not matter")


class Funding(Section):
    """What open positions of one instrument pay: `rate` at each `interval`, or what a table says."""

    instrument_id: InstrumentId = Field(description="whose positions pay; not spot, not shares")
    rate: FeeRate | None = Field(default=None, description="of the position's value, '0.01%': above 0 who is long pays")
    interval: PositiveDuration | None = Field(default=None, description="paid at each multiple of it since 1970 UTC: '8h'")
    file: PathText | None = Field(default=None, description="CSV or Parquet, columns ts and rate, in place of rate and interval")

    @model_validator(mode="after")
    def _check(self) -> Funding:
        if (self.file is None) is (self.rate is None) or (self.rate is None) is not (self.interval is None):
            raise ValueError("needs either `rate` and `interval`, or `file`")
        return self


class Venue(Section):
    fidelity: Literal["l2", "l3", "flow", "bars"] = Field(
        description="l2: beside recorded levels; l3: inside the recorded orders; flow: inside the generated market; bars"
    )
    queue_model: Literal["risk_averse", "power", "log"] = Field(default="risk_averse", description="l2: who leaves the queue")
    queue_power: Positive = Field(default="2", description="n of the power model")
    self_trade_prevention: Literal["cancel_newest", "cancel_oldest", "cancel_both", "decrement"] = Field(
        default="cancel_newest", description="where two orders of ours would trade with each other; not with bars"
    )
    crossed: Literal["stop", "count"] = Field(default="stop", description="a crossed recorded book stops the run, or is counted")
    rejects_per_million: int = Field(
        default=0, ge=0, le=1_000_000, description="orders refused at random, to try a strategy; not with bars"
    )
    post_only: Literal["reject", "slide"] = Field(
        default="reject",
        description="a post-only order that would trade is refused, or rests one tick off (slide: not with bars)",
    )
    day_end: TimeOfDay = Field(default="0ns", description="after midnight UTC: '20h'; DAY orders that are left expire then")
    orders_max: int = Field(default=65_536, ge=1, le=1 << 20, description="own orders alive or in flight; not with bars")
    timers_max: int = Field(default=1_024, ge=1, le=1 << 20, description="timers of all strategies; not with bars")
    book_orders_max: int = Field(
        default=65_536, ge=1, le=1 << 24, description="l3 and flow: live orders in one instrument's book"
    )
    levels_max: int = Field(default=16_384, ge=1, le=1 << 22, description="prices on one side of one instrument's book")
    bars: BarFills = Field(default_factory=BarFills, description="what fills an order inside a bar; fidelity bars only")
    funding: list[Funding] = Field(default_factory=list, description="what open positions pay or get over time")
    latency: Latency = Field(
        default_factory=lambda: ConstantLatency(model="constant", entry="1ms", response="1ms"),
        description="absent: constant, 1 ms each way",
    )


# Risk.


class Limits(Section):
    order_qty_max: Positive | None = Field(default=None, description="largest order, in units of the instrument")
    order_notional_max: Positive | None = Field(default=None, description="largest order, in settlement currency")
    position_qty_max: Positive | None = Field(default=None, description="largest position either way, open orders included")
    price_collar: Percentage | None = Field(default=None, description="how far through the opposite best an order may price")
    market_age_max: Duration | None = Field(default=None, description="oldest quote to trade on; '0ns': any age")
    locked_market: Literal["allow", "deny"] | None = Field(default=None, description="bid equal to ask; absent: allow")
    open_orders_max: int | None = Field(default=None, ge=1, description="open orders of the account; absent: any number")
    initial_margin: Percentage | None = Field(default=None, description="of the notional; equity must cover the sum of all")


class Losses(Section):
    """Beyond a limit everything is HALTED until it is resumed."""

    daily_loss_max: NotNegative | None = Field(default=None, description="in the account's currency")
    weekly_loss_max: NotNegative | None = Field(default=None, description="in the account's currency")
    drawdown_max: Percentage | None = Field(default=None, description="of the highest equity of the run")
    reduce_at: Percentage | None = Field(default=None, description="share of a loss limit at which trading becomes REDUCING")


class Exposure(Section):
    gross_exposure_max: NotNegative | None = Field(default=None, description="sum over instruments, open orders included")
    net_exposure_max: NotNegative | None = Field(default=None, description="bought less sold either way, open orders included")


class AccountRisk(Losses, Exposure):
    currency: Currency | None = Field(default=None, description="absent: the one that everything settles in")
    conversion: dict[Currency, Conversion] = Field(
        default_factory=dict, description="worth of one unit in `currency`: a number, or the instrument whose market says it"
    )
    currencies: dict[Currency, Exposure] = Field(default_factory=dict, description="exposure of what settles in one currency")
    leverage_max: NotNegative | None = Field(default=None, description="gross exposure over equity: '3'")
    day_start: Duration = Field(default="0ns", description="after midnight UTC: '22h'")
    week_start: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = Field(
        default="monday", description="the day with which a week begins, at `day_start`"
    )
    mark_interval: Duration = Field(default="100ms", description="at most one valuation in so long at quotes of one instrument")


class MessageRate(Section):
    messages_max: int = Field(ge=1, le=1_000_000, description="orders, replaces and cancels in any one `window`")
    window: PositiveDuration = Field(default="1s", description="in which messages are counted")
    cancel_reserve: int = Field(default=0, ge=0, description="messages of these that only cancels may use")


class ExecutionRate(Section):
    executions_max: int = Field(ge=1, le=1_000_000, description="fills of one strategy on one side of an instrument")
    window: PositiveDuration = Field(description="in which fills are counted")
    then: Literal["deny", "halt"] = Field(default="deny", description="halt: one more stops the strategy")


class RejectRate(Section):
    rejects_max: int = Field(ge=1, le=1_000_000, description="refusals by venues in any one `window`; one more halts")
    window: PositiveDuration = Field(description="in which refusals are counted")


class StrategyRisk(Losses):
    """The part of the account that one strategy may use."""

    capital_max: Positive | None = Field(default=None, description="in the account's currency: notional, or its initial margin")
    position_qty_max: dict[InstrumentId, Positive] = Field(default_factory=dict, description="by instrument, in its units")
    open_orders_max: int | None = Field(default=None, ge=1, description="open orders of the strategy")
    orders_max: int | None = Field(default=None, ge=1, le=1_000_000, description="new or replaced in any one `orders_window`")
    orders_window: PositiveDuration = Field(default="1s", description="in which the strategy's orders are counted")
    rejects: RejectRate | None = Field(default=None, description="refusals after which the strategy is halted")


class Risk(Limits):
    orders_max: int = Field(default=100, ge=1, le=1 << 20, description="new or replaced orders in any one `orders_window`")
    orders_window: PositiveDuration = Field(default="1s", description="length of that window, at any moment")
    self_trade: Literal["deny_other_strategies", "deny_any", "allow"] = Field(
        default="deny_other_strategies", description="whose resting orders a new one must not be able to meet"
    )
    account: AccountRisk = Field(default_factory=AccountRisk, description="limits over everything the account holds")
    messages: MessageRate | None = Field(default=None, description="rate of all messages to the venues")
    executions: ExecutionRate | None = Field(default=None, description="throttle of repeated executions")
    rejects: RejectRate | None = Field(default=None, description="refusals after which the account is halted")
    strategies: dict[Name, StrategyRisk] = Field(default_factory=dict, description="budgets by strategy id")
    instruments: dict[InstrumentId, Limits] = Field(default_factory=dict, description="limits that differ for one instrument")


class StrategyTable(Section):
    id: Name = Field(description="names it in reports; unique")
    class_: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")] = Field(
        alias="class", description='one of `strategies`, such as "symmetric_maker", or your own as "module:Class"'
    )
    params: dict[str, Any] = Field(default_factory=dict, description="checked by the strategy's own Params")


class Report(Section):
    equity_interval: PositiveDuration = Field(default="1s", description="simulated time between equity samples")
    equity_samples_max: int = Field(default=100_000, ge=16, le=10_000_000, description="beyond: every second sample is dropped")
    trading_day: PositiveDuration = Field(default="24h", description="length of a trading day, to annualise by")
    trading_days_per_year: int = Field(default=365, ge=1, le=366, description="252 for equities, 365 for crypto")
    progress_interval: PositiveDuration = Field(default="5s", description="between progress lines where there is no terminal")


class Audit(Section):
    anchor: PathText | None = Field(
        default=None, description="file outside the run folder that keeps the journal's seals a second time (docs/AUDIT.md)"
    )
    key_file: PathText | None = Field(
        default=None, description="PEM file of the Ed25519 key that signs the journal; absent: one is made in the state folder"
    )


class Daemon(Section):
    """What a daemon that runs by the clock needs beside the rest."""

    state_folder: PathText = Field(
        default="state", description="where each account keeps its state: below it, a folder `run.name`"
    )
    speed: Annotated[str, StringConstraints(pattern=r"^\d{1,4}(\.\d{1,3})?x$")] = Field(
        default="1x", description="recorded data: recorded seconds in a real one; its stamps are moved to now"
    )
    sync: Literal["before_send", "batch", "none"] = Field(
        default="before_send", description="when the disk has the journal: before a new order leaves, at each batch, or never"
    )
    inbox_events_max: int = Field(
        default=10_000, ge=16, le=1_000_000, description="events that may wait; market data is conflated when it is full"
    )
    snapshot_records: int = Field(
        default=200_000, ge=100, le=100_000_000, description="journal records between two snapshots: what a restart reads at most"
    )
    stop_timeout: PositiveDuration = Field(default="5s", description="longest time that a stop takes to cancel, verify and end")
    flatten_on_stop: bool = Field(default=False, description="close every position at the market before the end")
    reconcile_interval: PositiveDuration = Field(default="30s", description="between two comparisons with the venue's own books")
    lag_max: PositiveDuration = Field(
        default="500ms", description="what has waited in the inbox for longer is stamped anew, and somebody is told"
    )
    order_age_max: PositiveDuration = Field(
        default="2s", description="an order or change that leaves later than so long after its decision is refused: LATE"
    )
    clock_step_max: PositiveDuration = Field(default="500ms", description="a larger step of the machine's clock is told of")
    unknown_timeout: PositiveDuration = Field(
        default="20s", description="without an answer for so long, an order is asked about until the venue says what became of it"
    )
    foreign_orders: Literal["halt", "ignore", "adopt"] = Field(
        default="halt", description="orders and fills at the venue that are not ours: halt, leave alone, or count as ours"
    )
    record_frames: bool = Field(
        default=False,
        description="keep every byte that comes from or goes to `connections`, in the run folder (docs/VENUE-SIM.md)",
    )
    frames_bytes_max: int = Field(
        default=10 << 30, ge=1 << 20, description="bytes of frames that one run keeps; then recording ends with an alert"
    )
    memory_interval: PositiveDuration = Field(
        default="10s", description="between two moments at which strategies save what they remember over a restart"
    )
    venue_wait: Duration = Field(
        default="0ns",
        description="longest time that a start waits for a venue that cannot be reached, or does not answer; then exit code 9",
    )
    retention_runs: int = Field(default=0, ge=0, le=1_000_000, description="run folders to keep; 0: not counted")
    retention_days: int = Field(default=0, ge=0, le=36_500, description="days for which a run folder is kept; 0: not counted")
    archive: PathText | None = Field(default=None, description="folder that old runs are moved to; absent: they are deleted")
    heartbeat_interval: PositiveDuration = Field(
        default="500ms", description="between two proofs that the loop works: one record of the journal each"
    )


class RunConfig(Section):
    run: Run
    account: Account = Field(default_factory=Account)
    instruments: Instruments
    data: list[DataSource] = Field(default_factory=list, description="the market of a simulated venue")
    venue: Venue = Field(
        default_factory=lambda: Venue(fidelity="l2"), description="the simulated venue; needed where there are data"
    )
    risk: Risk
    strategies: list[StrategyTable] = Field(min_length=1, description="called in this order")
    report: Report = Field(default_factory=Report)
    audit: Audit = Field(default_factory=Audit)
    daemon: Daemon = Field(default_factory=Daemon)
    connections: list[Connection] = Field(default_factory=list, description="venues outside this process")
    guardian: Guardian = Field(default_factory=Guardian)
    promotion: Promotion = Field(default_factory=Promotion)
    alerts: Alerts = Field(default_factory=Alerts)
    api: Api = Field(default_factory=Api, description="the HTTP API")
    clients: list[Client] = Field(default_factory=list, max_length=64, description="programs outside that may ask and trade")

    @model_validator(mode="after")
    def _a_market_has_its_venue(self) -> RunConfig:
        if self.data and "venue" not in self.model_fields_set:
            raise ValueError("venue: this key is missing: how the market of `data` is simulated")
        if not self.data and not self.connections:
            raise ValueError("data: this key is missing: a run has a market of its own, or [[connections]] to venues")
        return self

    @model_validator(mode="after")
    def _strategy_ids_are_unique(self) -> RunConfig:
        ids = [strategy.id for strategy in self.strategies] + [client.id for client in self.clients]
        for strategy_id in ids:
            if ids.count(strategy_id) > 1:
                raise ValueError(f"two strategies have the id {strategy_id!r}")
        return self
