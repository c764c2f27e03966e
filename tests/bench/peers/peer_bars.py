"""backtesting.py's and vectorbt's side of the bars benchmark: the same bars, the same SMA 20/50 cross. Prints JSON.

Run by tests/bench/peers/compare.py with the peers' own interpreter: peer_bars.py BARS.npy
BARS.npy: int64 (n, 7): ts_event ns, open, high, low, close, volume, interval ns; prices in hundredths.
"""

import json
import statistics
import sys
import time
import warnings

import numpy as np
import pandas as pd
import vectorbt as vbt
from backtesting import Backtest, Strategy
from backtesting.lib import crossover

warnings.filterwarnings("ignore")
REPEATS = 3
CASH = 1e9


def frame(rows):
    index = pd.to_datetime(rows[:, 0], unit="ns")
    columns = {
        "Open": rows[:, 1] / 100,
        "High": rows[:, 2] / 100,
        "Low": rows[:, 3] / 100,
        "Close": rows[:, 4] / 100,
        "Volume": rows[:, 5],
    }
    return pd.DataFrame(columns, index=index)


def average(values, length):
    return pd.Series(values).rolling(length).mean()


class SmaCross(Strategy):
    def init(self):
        self.fast = self.I(average, self.data.Close, 20)
        self.slow = self.I(average, self.data.Close, 50)

    def next(self):
        if crossover(self.fast, self.slow):
            self.position.close()
            self.buy(size=1)
        elif crossover(self.slow, self.fast):
            self.position.close()
            self.sell(size=1)


def run_backtesting(bars):
    started = time.perf_counter()
    test = Backtest(bars, SmaCross, cash=CASH, commission=0.0)
    result = test.run()
    return time.perf_counter() - started, int(result["# Trades"])


def run_vectorbt(bars):
    started = time.perf_counter()
    close = bars["Close"]
    fast = vbt.MA.run(close, 20)
    slow = vbt.MA.run(close, 50)
    entries, exits = fast.ma_crossed_above(slow), fast.ma_crossed_below(slow)
    portfolio = vbt.Portfolio.from_signals(
        close, entries=entries, exits=exits, short_entries=exits, short_exits=entries, size=1.0, init_cash=CASH, freq="1min"
    )
    trades = int(portfolio.trades.count())
    return time.perf_counter() - started, trades


def measure(name, run, bars, note):
    run(bars.iloc[:5000])
    results = [run(bars) for _ in range(REPEATS)]
    seconds = statistics.median(result[0] for result in results)
    return {"case": name, "bars": len(bars), "bars_per_s": len(bars) / seconds, "trades": results[-1][1], "note": note}


def main():
    bars = frame(np.load(sys.argv[1]))
    report = [
        measure("backtesting.py", run_backtesting, bars, "event-driven"),
        measure("vectorbt", run_vectorbt, bars, "vectorised: no events, no orders, no risk gate"),
    ]
    json.dump(report, sys.stdout)


main()
