# Short targets; every one sets up what it needs. `make run` and `make test` work from a fresh clone.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
PEERS ?= .venv-peers
IB_INSYNC ?= .venv-ib-insync

.DEFAULT_GOAL := help
.PHONY: help run test test-slow test-ib-insync test-asan test-stalled lint format bench bench-peers sim soak clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# One stamp per set of extras: the base install runs the daemon, dev adds what the tests and linters need.
$(VENV)/.base: pyproject.toml setup.py constraints.txt $(wildcard native/*.c native/*.h native/extension_build.py)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: $(VENV)/.base  ## one session of the embedded market with a market maker; ARGS='...' passes arguments on
	@$(BIN)/tradingd backtest config/demo.toml $(ARGS)

test: $(VENV)/.dev  ## the whole suite
	$(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev  ## the long proofs
	$(BIN)/python -m pytest -m slow $(ARGS)

# ib_insync and ib_async both write the package eventkit: each has an environment of its own.
$(IB_INSYNC)/.done: pyproject.toml constraints.txt
	@test -x $(IB_INSYNC)/bin/python || $(PYTHON) -m venv $(IB_INSYNC)
	$(IB_INSYNC)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . ib_insync==0.9.86 \
		pytest pytest-timeout hypothesis
	@touch $@

test-ib-insync: $(IB_INSYNC)/.done  ## the tests of Interactive Brokers with ib_insync in place of ib_async
	$(IB_INSYNC)/bin/python -m pytest tests/adapters/ib tests/sim/venues/ib $(ARGS)

test-asan: $(VENV)/.dev  ## native tests under AddressSanitizer and UndefinedBehaviorSanitizer
	bash tests/native/asan.sh $(BIN)/python $(ARGS)

test-stalled: $(VENV)/.dev  ## the tests on a machine that stalls: stopped again and again for a moment; ARGS='--seed 7 tests/daemon/guardian'
	$(BIN)/python -m tests.stalled -n 2 -m "not slow" $(ARGS)

lint: $(VENV)/.dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## our benchmarks; ARGS=--json for JSON
	$(BIN)/python -m tests.bench $(ARGS)

sim: $(VENV)/.dev  ## whole worlds in virtual time, 10,000 seeds; SEED=7 STEPS=5 repeats one and tells what happens
	$(BIN)/python -m tests.sim.whole $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) $(ARGS)

soak: $(VENV)/.dev  ## the paper daemon for an hour at ten times a normal rate: what grows; ARGS='--minutes 20 --json'
	$(BIN)/python -m tests.bench.soak $(ARGS)

$(PEERS)/.done: tests/bench/peers/requirements.txt
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench-peers: $(VENV)/.dev $(PEERS)/.done  ## the same work in hftbacktest, nautilus_trader, backtesting.py and vectorbt, side by side
	$(BIN)/python -m tests.bench.peers.compare --peers $(PEERS)/bin/python $(ARGS)

# As root, on the machine that trades; PYTHON= one of the system's own, which a service can reach. docs/SERVICE.md goes on from here.
install-service:  ## the program in /opt/tradingd and its units, as root
	$(PYTHON) -m venv /opt/tradingd
	/opt/tradingd/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt '.[api]'
	install -d -m 755 /etc/tradingd
	install -m 644 systemd/tradingd@.service systemd/tradingd-guardian@.service /etc/systemd/system/
	install -m 755 systemd/tradingd-account /usr/local/bin/
	systemctl daemon-reload

clean:  ## everything that was built or installed
	rm -rf $(VENV) $(PEERS) $(IB_INSYNC) build dist *.egg-info bench-data .mypy_cache .ruff_cache .hypothesis
	rm -f native/_native*.so native/_native.c native/*.o
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
