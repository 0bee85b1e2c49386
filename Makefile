# Nightshelf. `make run` sets everything up and runs a night; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CONF ?= conf/complete_journey.toml
RUN_DATE ?= 2017-12-03
RAW ?=
ROWS_OF ?=
PUBLICATION ?=
MODEL ?=
BY ?=
REASON ?=
DB ?=
PORT ?= 8080
PARALLEL ?= 1
A ?=
Q ?=
ITEM ?=
IDS ?=
# As they were given: make would expand a dollar in them, and run what $(shell ...) names.
override Q := $(value Q)
override BY := $(value BY)
override REASON := $(value REASON)
override ITEM := $(value ITEM)
WHOSE := $(if $(filter command,$(origin USER)),$(value USER))# the login name is none of the shop's users
export Q BY REASON ITEM WHOSE
PYTHON ?= python3
DEFAULT_CONF := conf/complete_journey.toml

export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/build/uv/bin:$(PATH)
export PYTHONPATH :=
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export PYTHONWARNINGS := ignore::FutureWarning

NIGHT = python -m jobs.commands.night --run-date $(RUN_DATE) --conf $(CONF) $(if $(RAW),--landing $(RAW))

## What a person does

.PHONY: run
run: estimate setup example  ## Everything: set up, prepare the example, train what there is no model of yet, run the night of RUN_DATE
	@$(NIGHT) --train missing

.PHONY: estimate
estimate:
	@$(PYTHON) jobs/commands/estimate.py

.PHONY: night
night: setup example  ## Run the night of RUN_DATE with the newest model that was promoted by then
	@$(NIGHT)

.PHONY: airflow-night
airflow-night: setup airflow-env example  ## Run the night of RUN_DATE as Airflow does, a spark-submit each
	@NIGHTSHELF_LATE_HOURS=0 $(AIRFLOW) dags test nightshelf_nightly --conf '{"run_date": "$(RUN_DATE)"}'

.PHONY: airflow
airflow: setup airflow-env  ## Start Airflow and its UI at localhost:PORT, in the foreground; DB=postgresql://... instead of SQLite
	@test -f .airflow/passwords.json || (umask 077 && \
	  python -c 'import json, secrets; print(json.dumps({"admin": secrets.token_urlsafe(12)}))' > .airflow/passwords.json)
	@echo "Airflow: http://localhost:$(PORT)  $$(python -c 'import json; print("login admin, password", json.load(open(".airflow/passwords.json"))["admin"])')"
	@echo "Its log is .airflow/standalone.log; Ctrl-C ends it. DAGs start paused; a night needs a model (make run)."
	@{ $(AIRFLOW) db migrate && $(AIRFLOW) pools set default_pool $(PARALLEL) "jobs at once"; } \
	  > .airflow/migrate.log 2>&1 || { cat .airflow/migrate.log >&2; exit 1; }
	@$(SERVED) $(AIRFLOW) standalone > .airflow/standalone.log 2>&1

.PHONY: airflow-cli
airflow-cli: setup airflow-env  ## Airflow's own command on that Airflow: make airflow-cli A="dags list-runs nightshelf_nightly"
	@env PATH=$(CURDIR)/.venv-airflow/bin:$(PATH) $(AIRFLOW) $(A)

.PHONY: package
package: build/nightshelf.zip  ## Pack the code for a cluster's executors (NIGHTSHELF_PY_FILES)

.PHONY: jar
jar: setup  ## Build build/nightshelf-s3.jar, for lakes on an object store (needs a JDK)
	@python -m jobs.commands.build_jar

.PHONY: kube
kube: setup  ## Write the Kubernetes objects of RUN_DATE into build/kube (A="--operator apache": of Spark's own operator)
	@python -m jobs.commands.kube_objects --conf $(CONF) --run-date $(RUN_DATE) $(A)

.PHONY: train
train: setup example  ## Train and register the models of every kind on what was known on RUN_DATE
	@$(NIGHT) --train always --only training

.PHONY: evaluate
evaluate: setup example  ## Judge the night of RUN_DATE by the 28 days after it, against every peer; writes a page
	@python -m jobs.commands.night --run-date $(RUN_DATE) --conf $(CONF) $(if $(RAW),--landing $(RAW)) --only evaluation

CUTS ?= 4
.PHONY: evaluate-cuts
evaluate-cuts: setup  ## The same again, once its logs are read, and the lead over the best peer on CUTS dates before
	@python -m jobs.evaluate_recommendations --run-date $$(date -d "$(RUN_DATE) + 28 days" +%F) --conf $(CONF) --cuts $(CUTS)

.PHONY: backtest
backtest: setup example  ## Judge forecasts, stock actions and audiences of dates before RUN_DATE by what followed; writes a page
	@python -m jobs.commands.night --run-date $(RUN_DATE) --conf $(CONF) $(if $(RAW),--landing $(RAW)) --only backtest

.PHONY: read-experiments
read-experiments: setup  ## Read what the variants of [[experiments]] are worth by RUN_DATE
	@python -m jobs.read_experiments --run-date $(RUN_DATE) --conf $(CONF)

.PHONY: value-policies
value-policies: setup  ## Value other choices for the places that explore_places drew, by what was bought up to RUN_DATE
	@python -m jobs.value_policies --run-date $(RUN_DATE) --conf $(CONF)

.PHONY: exposure
exposure: setup  ## Measure whose items the lists of RUN_DATE show, beside whose items are bought
	@python -m jobs.measure_exposure --run-date $(RUN_DATE) --conf $(CONF)

.PHONY: page
page: setup  ## Write the page of RUN_DATE as it is now: records, checks, figures, costs, and what failed
	@python -m jobs.commands.page --run-date $(RUN_DATE) --conf $(CONF)

.PHONY: rollback
rollback: setup  ## Take the night of RUN_DATE back to its last PUBLICATION, or to that of the night ROWS_OF
	@python -m jobs.commands.rollback --run-date $(RUN_DATE) --conf $(CONF) $(if $(ROWS_OF),--rows-of $(ROWS_OF)) \
	  $(if $(PUBLICATION),--publication $(PUBLICATION))

.PHONY: approve
approve: setup  ## Approve the models and the drift of RUN_DATE that wait for a person ([gate] approval), or MODEL alone
	@python -m jobs.commands.approve --run-date $(RUN_DATE) --conf $(CONF) $(if $(MODEL),--model $(MODEL)) \
	  $(if $(BY),--by "$$BY") $(if $(REASON),--reason "$$REASON")

.PHONY: erase
erase: setup  ## Erase the users whose ids are in the file IDS, one a line, from the lake ([privacy.erasure]; docs/privacy.md)
	@python -m jobs.commands.erase --ids "$(IDS)" --conf $(CONF) $(A)

.PHONY: pseudonyms
pseudonyms: setup  ## Give every user_id of the lake its pseudonym under the key of [privacy.pseudonyms], also after another key
	@python -m jobs.commands.pseudonyms --conf $(CONF)

.PHONY: prove-erasure
prove-erasure: setup  ## Search every file of the lake for the ids in the file IDS
	@python -m jobs.commands.prove_erasure --ids "$(IDS)" --conf $(CONF)

.PHONY: access
access: setup  ## Show who may read what; A="--out DIR" as rules, A=--mask copies without persons, A=--audit foreign commits
	@python -m jobs.commands.access --conf $(CONF) $(A)

.PHONY: maintain
maintain: setup  ## Delete what is older than conf keeps, compact the tables, remove files that no table names
	@python -m jobs.maintain_tables --run-date $(RUN_DATE) --conf $(CONF)

.PHONY: upgrade-lake
upgrade-lake: setup  ## Bring a lake that an older version wrote to today's layout, once
	@python -m jobs.commands.upgrade_lake --conf $(CONF)

.PHONY: sql
sql: setup  ## Run Q="SELECT ..." with every table named <layer>.<table>
	@python -m jobs.commands.sql --conf $(CONF) --query "$$Q"

.PHONY: why
why: setup  ## Why an item is, or is not, on a user's list: USER= ITEM= RUN_DATE=; what it prints is personal
	@python -m jobs.commands.why --user "$$WHOSE" --item "$$ITEM" --run-date $(RUN_DATE) --conf $(CONF)

.PHONY: flow
flow: setup  ## Draw the whole night from jobs/flow.py: text here, a Mermaid picture in docs/flow.md
	@python -m jobs.commands.draw_flow --page docs/flow.md

.PHONY: docs
docs: setup  ## Write docs/tables.md from schemas/
	@python -m jobs.commands.draw_flow --tables docs/tables.md

## What a developer does

TWO_WORKERS = python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: setup airflow-env  ## Run the tests (20 to 25 minutes on two cores); what takes longer has targets of its own
	@$(TWO_WORKERS)

.PHONY: test-slow
test-slow: setup airflow-env  ## Run whole jobs and nights of a tiny shop (20 to 30 minutes)
	@$(TWO_WORKERS) -m "slow and not nights and not airflow and not cluster and not faults and not s3"

.PHONY: test-all
test-all: setup airflow-env  ## Run both in one go, as .ci/run does: Spark starts once, and two workers end together
	@$(TWO_WORKERS) -m "not nights and not airflow and not cluster and not faults and not s3"

.PHONY: test-nights
test-nights: setup  ## Run what takes several nights of a tiny shop: old dates, gaps, prices
	@$(TWO_WORKERS) -m nights

.PHONY: test-erasure
test-erasure: setup  ## Erase a user of a tiny shop, and compare it with one that never had the user
	@python -m pytest tests/unit/test_traces.py tests/unit/test_personal_statistics.py tests/spark/test_erasure.py tests/nights/test_erased_shop.py -m "nights or not nights"

.PHONY: test-airflow
test-airflow: setup airflow-env  ## Run nights and a week of a tiny shop under Airflow's own scheduler (hours; wants postgresql, chromium)
	@ls /usr/bin/chromium /usr/lib/postgresql/*/bin/initdb > /dev/null || { echo "Install Debian's chromium and postgresql." >&2; exit 2; }
	@python -m pytest tests -m airflow

.PHONY: test-faults
test-faults: setup  ## Kill jobs of a tiny night at fifty moments, feed it 10,000 dirty rows (hours)
	@python -m pytest tests -m faults

.PHONY: cluster-test
cluster-test: setup airflow-env  ## Have Airflow run a night on a standalone Spark cluster, and encode on one that takes itself to have a GPU
	@python -m pytest tests -m cluster

.PHONY: test-s3
test-s3: setup jar .venv-s3/.synced  ## Tables, models and commits of two drivers on an object store of this machine
	@python -m pytest tests -m s3

.PHONY: check
check: setup  ## Lint, formatting and types; changes nothing
	@ruff check . && ruff format --check . && mypy

.PHONY: fix
fix: setup  ## Mend what lint and formatting can mend
	@ruff check --fix . ; ruff format .

.PHONY: bench
bench: .venv/.bench  ## Measure encoding, top-K and the way through Spark against peers (ten minutes of an idle machine)
	@python -m bench.encode && python -m bench.topk && python -m bench.through_spark --texts 8000 --repeats 2

BASE ?= 46ff31d
.PHONY: bench-night
bench-night: setup  ## Measure the nights of a tiny shop, against those of the commit BASE (an hour the first time, then a quarter)
	@python -m bench.night --base $(BASE) $(A)

.PHONY: bench-gpu
bench-gpu: .venv/.bench  ## Check and measure what only a GPU runs (eight minutes at most; A="--device cpu" is a dry run)
	@python -m bench.gpu $(A)

.PHONY: bench-full
bench-full: .venv/.bench  ## The same with as many texts, users and items as a large shop has (hours)
	@python -m bench.encode --texts 20000 --naive-texts 1000 && python -m bench.topk --users 100000 --items 100000
	@python -m bench.through_spark --texts 200000
	@python -m bench.spark_topk --users 100000 --items 100000 --peer-users 16384
	@python -m bench.growth --users 500 && python -m bench.catalogue
	@python -m bench.smaller && python -m bench.int8_choices

.PHONY: golden
golden: setup airflow-env  ## Rewrite the golden files, docs/flow.md and docs/tables.md; review them as a diff
	@python -m jobs.commands.draw_flow --page docs/flow.md --tables docs/tables.md > /dev/null
	@GOLDEN=1 python -m pytest -k golden

.PHONY: clean
clean:  ## Remove the lakes, landings and logs (not the environments)
	rm -rf lake landing logs

.PHONY: help
help:  ## List the targets
	@awk -F ':.*## ' '/^## /{print "\n" substr($$0, 4)} /^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "Settings: CONF=$(CONF) RUN_DATE=$(RUN_DATE) RAW=<folder of raw files> Q=<SQL> PORT=$(PORT) DB=<URL> PARALLEL=$(PARALLEL)"

## What happens by itself

.PHONY: setup
setup: java .venv/.synced .venv/.jars  ## Set up what the jobs need: .venv from uv.lock, Spark's jars, checked weights

.PHONY: java
java:
	@java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java; \
	version=$$("$$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1); \
	if [ "$${version:-0}" -lt 17 ]; then \
	  echo "Nightshelf needs Java 17 or 21 for Spark, and found $${version:-none}: install one (Debian: apt install openjdk-17-jre-headless) or set JAVA_HOME." >&2; exit 2; fi

.venv/.synced: pyproject.toml uv.lock
	@command -v uv > /dev/null || { echo "Installing uv into build/uv ..."; $(PYTHON) -m pip install -q --disable-pip-version-check --target build/uv uv==0.13.9; }
	@echo "Setting up .venv from uv.lock (a few GB the first time) ..."
	@env -u PYTHONPATH uv sync --frozen && touch $@

build/nightshelf.zip: $(shell find jobs udfs schemas -name '*.py' -o -name '*.j2')
	@mkdir -p build && rm -f $@ && python -m zipfile -c $@ jobs udfs schemas && echo "$@"

.venv/.bench: .venv/.synced
	@env -u PYTHONPATH uv sync --frozen --group bench && touch $@

.venv/.jars: conf/spark-local.conf .venv/.synced
	@echo "Fetching Spark's jars and checking the BERT weights ..."
	@python -m jobs.commands.doctor --conf $(DEFAULT_CONF) && touch $@

# The database's URL has a password, so it is in no command's arguments. Without a driver's name SQLAlchemy takes one that
# is not in the environment. A SQLite is written to in turn (dags/sqlite.py).
ifneq ($(DB),)
export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN := $(patsubst postgresql://%,postgresql+psycopg2://%,$(DB))
endif
DATABASE = $(if $(DB),,AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS=dags.sqlite.WAITING)
AIRFLOW_HERE = env AIRFLOW_HOME=$(CURDIR)/.airflow AIRFLOW__CORE__DAGS_FOLDER=$(CURDIR)/dags \
  AIRFLOW__CORE__LOAD_EXAMPLES=False NIGHTSHELF_CONF=$(CONF) .venv-airflow/bin/airflow
AIRFLOW = env $(DATABASE) PYTHONPATH=$(CURDIR) $(AIRFLOW_HERE)
# What a running Airflow has beside that. One job at a time on one machine, each is a Spark application with all cores: the
# pool sees to that. One process more may run than jobs, so that who is to be told of a late night is told while it runs.
# DAG files are parsed every five minutes: Airflow's half a minute takes a sixth of a core from the night.
SERVED = env PATH=$(CURDIR)/.venv-airflow/bin:$(PATH) \
  AIRFLOW__API__HOST=127.0.0.1 AIRFLOW__API__PORT=$(PORT) AIRFLOW__API__BASE_URL=http://localhost:$(PORT) \
  AIRFLOW__CORE__EXECUTION_API_SERVER_URL=http://localhost:$(PORT)/execution/ \
  AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL=300 \
  AIRFLOW__CORE__PARALLELISM=$$(($(PARALLEL) + 1)) NIGHTSHELF_PARALLEL=$(PARALLEL) \
  AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin \
  AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE=$(CURDIR)/.airflow/passwords.json

.PHONY: airflow-env
airflow-env: .airflow/airflow.db  ## Set up Airflow in .venv-airflow and check that the DAGs import

.venv-s3/.synced: tests/s3/requirements.txt | .venv/.synced
	@uv venv -q --clear --python 3.11 .venv-s3
	@uv pip install -q --python .venv-s3/bin/python -r tests/s3/requirements.txt && touch $@

.venv-airflow/.synced: dags/requirements.txt | .venv/.synced
	@echo "Setting up .venv-airflow from dags/requirements.txt ..."
	@uv venv -q --clear --python 3.11 .venv-airflow
	@uv pip sync -q --python .venv-airflow/bin/python dags/requirements.txt && touch $@

.airflow/airflow.db: .venv-airflow/.synced
	@mkdir -p .airflow
	@env -u AIRFLOW__DATABASE__SQL_ALCHEMY_CONN $(AIRFLOW_HERE) db migrate > .airflow/migrate.log 2>&1 || { cat .airflow/migrate.log >&2; exit 1; }
	@env -u AIRFLOW__DATABASE__SQL_ALCHEMY_CONN $(AIRFLOW_HERE) dags list-import-errors --local > .airflow/import.log 2>&1 || { cat .airflow/import.log >&2; exit 1; }
	@touch $@

.PHONY: example
example: .venv/.synced
ifeq ($(CONF)$(RAW),$(DEFAULT_CONF))
	@python -m examples.complete_journey --out landing/complete_journey
endif
