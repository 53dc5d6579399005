# One command each, from nothing: `make demo`, `make test`. Each sets up .venv first, if it is not there.
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# The first interpreter here that runs and is new enough.
FIND := for one in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$one; exit; }; done

.PHONY: families demo test test-all test-sdks test-tiktoken test-foreign test-mappings test-backends test-newcomer test-spark test-clickhouse fleet-clickhouse focus span-trees differential soak kill fleet ledger-crash attacks budgets check format bench docs prices prices-read prices-wheel clean

$(READY): pyproject.toml
	@found=$$($(FIND)); test -n "$$found" || { echo "tokenmeter needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3"; exit 1; }; \
	echo "setting up $(VENV) with $$found"; $$found -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

demo: $(READY)
	@$(PY) -m tokenmeter demo

test: $(READY)
	$(PY) -m pytest -n 2

check: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --explicit-package-bases tools/price_book  # its data folders bear names of its modules
	$(VENV)/bin/lint-imports
	$(PY) -m pytest -q tests/test_public_api.py tests/test_architecture.py

format: $(READY)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# Every supported interpreter found on this machine, each in an environment of its own.
test-all:
	@for version in 3.11 3.12 3.13 3.14; do \
		command -v python$$version >/dev/null && python$$version -c 'import venv' 2>/dev/null || { echo "python$$version: not on this machine, not run"; continue; }; \
		$(MAKE) --no-print-directory VENV=.venvs/python$$version PYTHON=python$$version test || exit 1; \
	done

# The trap table against openai 1, 2 and 3, langchain and litellm, then every other SDK's majors by each case; each in an
# environment of its own.
test-sdks: $(READY)
	@status=0; for matrix in sdk_matrix sdk_matrix_clients; do $(PY) tools/$$matrix.py || status=1; done; exit $$status

# Counting with the oldest tiktoken that pyproject.toml takes and with the newest, each in an environment of its own.
test-tiktoken:
	@floor=$$(sed -n 's/.*"tiktoken>=\([0-9.]*\)".*/\1/p' pyproject.toml); \
	for wanted in "floor tiktoken==$$floor.*" "newest tiktoken"; do \
		there=.venvs/tiktoken-$${wanted%% *}; \
		$(MAKE) --no-print-directory VENV=$$there $$there/.ready && \
		$$there/bin/python -m pip install --quiet --disable-pip-version-check --upgrade "$${wanted#* }" && \
		$$there/bin/python -m pytest -q tests/tokens || exit 1; \
	done

# A million calls priced by Spark, by DuckDB and one by one, to the last digit; Spark has an environment of its own and
# needs Java. ARGS="--rows 50000" for less.
test-spark:
	@there=.venvs/spark; $(MAKE) --no-print-directory VENV=$$there $$there/.ready && \
	$$there/bin/python -m pip install --quiet --disable-pip-version-check pyspark "pandas<3" && \
	$$there/bin/python tools/spark_batches.py $(ARGS)

# The fleet's ledger in ClickHouse: over the real engine of chdb, which is large and has an environment of its own.
CLICKHOUSE = there=.venvs/clickhouse; $(MAKE) --no-print-directory VENV=$$there $$there/.ready && \
	$$there/bin/python -m pip install --quiet --disable-pip-version-check chdb clickhouse-connect sqlglot &&

test-clickhouse:
	@$(CLICKHOUSE) $$there/bin/python -m pytest tests/ledger/fleet tests/real/test_fleet.py tests/docs/test_clickhouse_page.py tests/dashboards/test_spend_panels.py -k "clickhouse or click" -n 0

# As `make fleet`, into ClickHouse.
fleet-clickhouse:
	@$(CLICKHOUSE) $$there/bin/python -m tests.real.fleet --engine clickhouse $(ARGS)

# The spans of frameworks over SDKs, of other instrumentations and ours; that each call is counted once.
span-trees: $(READY)
	$(PY) tools/span_trees.py

# Applications that other instrumentations trace, each with the processor and with the collector: costs right, each call
# once. Vercel's AI SDK too, where node and npm are here. ARGS="--only official vercel-7" runs some.
test-foreign: $(READY)
	$(PY) tools/foreign_matrix.py $(ARGS)

# What the backends' own code makes of our spans: every package that holds such code, in an environment of its own.
test-mappings: $(READY)
	$(PY) tools/mappings.py

# The same forty calls in real servers of Phoenix, MLflow, VictoriaMetrics and Prometheus: what each shows beside ours, and
# why where it differs. Takes 1.7 GB of .venvs the first time. ARGS="--pages docs/images" takes the documents' pictures.
test-backends: $(READY)
	$(PY) tools/backends $(ARGS)

# What a newcomer does who follows docs/observability.md and the READMEs: an empty environment, the wheel, a real Prometheus.
test-newcomer: $(READY)
	$(PY) tools/newcomer.py
	$(PY) tools/newcomer.py --readme

# FOCUS exports of a ledger of several vendors in the public validator, which needs Python 3.12 or newer and an environment
# of its own.
focus: $(READY)
	$(PY) tools/focus_validator.py $(ARGS)

# Every known model name with its tokenizer family, for review after a change of tokenizers/models.toml.
families: $(READY)
	$(PY) tools/model_families.py

# Every page and file that is generated: API, prices, dashboard, rules. The tests hold each equal to its source.
docs: $(READY)
	$(PY) tools/api_docs.py
	$(PY) tools/watched_page.py
	$(PY) tools/readme_sdks.py
	$(PY) -m tokenmeter.prices.upkeep.reference
	$(PY) -m tokenmeter.dashboards dashboard > docs/grafana/tokenmeter.json
	$(PY) -m tokenmeter.dashboards ledger > docs/grafana/tokenmeter-ledger.json
	$(PY) -m tokenmeter.dashboards ledger --engine clickhouse > docs/grafana/tokenmeter-ledger-clickhouse.json
	$(PY) -m tokenmeter.dashboards rules --limit '*=100:USD' --limit '*=700:CNY' > docs/prometheus/tokenmeter.rules.yml

# Thousands of random programs with faults, bare and metered: all that they see and send must be the same.
differential: $(READY)
	$(PY) -m tests.real.differential $(ARGS)

# Ten minutes of every library under faults; the records reconcile with the server's list. ARGS="--seconds 180" for less.
soak: $(READY)
	$(PY) -m tests.real.soak $(ARGS)

# A million records by four programs through two files into PostgreSQL, which crashes three times. ARGS="--records 100000".
fleet: $(READY)
	$(PY) -m tests.real.fleet $(ARGS)

# Two hundred rounds of processes that are killed while they write one ledger.
kill: $(READY)
	$(PY) -m tests.real.kill $(ARGS)

# Two hundred rounds of writers of one ledger, killed, forked, or with the file moved away under them.
ledger-crash: $(READY)
	$(PY) -m tests.real.ledger_crash $(ARGS)

# One row for each hostile setting: what was lost, doubled, changed or kept.
attacks: $(READY)
	@$(PY) -m pip install --quiet --disable-pip-version-check --group attacks
	$(PY) -m tests.real.attacks $(ARGS)

# Two thousand examples of the budget stores' state machine for each store, then ten rounds of the race in each.
budgets: $(READY)
	BUDGET_EXAMPLES=2000 $(PY) -m pytest -q -n 0 tests/budgets/test_stores.py
	for store in memory sqlite redis; do $(PY) -m tests.real.race --store $$store --rounds 10 || exit 1; done

# The price book from its facts and decisions: what changed, by model. ARGS=--check writes nothing; ARGS=--unused lists
# the facts in no rate, each with the reason.
prices: $(READY)
	$(PY) -m tools.price_book $(ARGS)

# Read the newest packages of the sources (pip download, npm pack), append what is new to the facts, compile. ARGS="litellm
# mlflow" reads some; ARGS="--given litellm=FILE.whl" takes a package that is here.
prices-read: $(READY)
	$(PY) -m tools.price_book --read $(ARGS)

# The book alone as a wheel, built in an environment of its own; its digest is listed in packaging/tokenmeter-prices/SHA256SUMS.
prices-wheel: $(READY)
	$(PY) packaging/tokenmeter-prices/release.py $(ARGS)

# What a call costs beside six other instrumentations, each in an environment of its own, and what each recorded: writes
# docs/benchmarks.md and its picture. ARGS="--only langfuse" measures one anew, ARGS=--missing what this commit has no
# figures of, ARGS=--report none; ARGS=--quick shows with few calls that all can be measured, and writes neither.
bench: $(READY)
	$(PY) -m benchmarks.compare $(ARGS)

clean:
	rm -rf $(VENV) .venvs .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
