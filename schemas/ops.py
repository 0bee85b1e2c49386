"""Ops: records of runs, checks, models and publications."""

from schemas.bronze import RUN_DATE
from schemas.contract import PARTITION, Column, Table, between, not_blank, one_of, row_check, table_check
from schemas.features import MODEL_VERSION

RUN_ID = Column("run_id", "STRING", "Identifies one run of one job")
JOB = Column("job", "STRING", "The job, as in jobs/flow.py")

# Of the row of a run's end; null in that of its beginning, and where the machine does not say.
COSTS = (
    Column(
        "cpu_seconds",
        "DOUBLE",
        "CPU seconds of the driver, its JVM and Python workers; on a cluster, and seconds of tasks of executors",
        True,
        (between(0, None),),
    ),
    Column("peak_bytes", "BIGINT", "Most memory that these processes had at once", True, (between(0, None),)),
    Column(
        "bytes_read",
        "BIGINT",
        "Bytes that Spark read from files, by Hadoop's count, which lacks Parquet's vectored reads of a local disk",
        True,
        (between(0, None),),
    ),
    Column("bytes_shuffled", "BIGINT", "Bytes that Spark wrote between stages", True, (between(0, None),)),
    Column("bytes_written", "BIGINT", "Bytes of the data files that it published", True, (between(0, None),)),
    Column("price", "DOUBLE", "What that costs by [prices]; null without prices", True, (between(0, None),)),
)
RUNS = Table(
    "ops.runs",
    "one run of one job as it began (running), and once more as it ended; without a second row it is running or was "
    "killed",
    (
        RUN_DATE,
        RUN_ID,
        JOB,
        Column("status", "STRING", "How it ended", rules=(one_of("running", "done", "refused", "failed"),)),
        Column("error", "STRING", "Why it was refused or failed", True),
        Column("started_at", "TIMESTAMP", "When it started, UTC"),
        Column("seconds", "DOUBLE", "How long it took", rules=(between(0, None),)),
        Column("rows_written", "MAP<STRING, BIGINT>", "Rows per table written"),
        Column(
            "model_version",
            "STRING",
            "The model it used or made; null where it uses none, or has fitted one within the run for want of one",
            True,
        ),
        Column("code_version", "STRING", "Version of Nightshelf, with the commit where there is one"),
        Column("deployment", "STRING", "Name of the deployment"),
        *COSTS,
    ),
    key=("run_id", "status"),
)
CHECKS = Table(
    "ops.checks",
    "one expectation about one table, as one run of a job found it",
    (
        RUN_DATE,
        RUN_ID,
        JOB,
        Column("table_name", "STRING", "The table"),
        Column("check_name", "STRING", "The check, as the contract names it"),
        Column("column_name", "STRING", "The column it speaks of", True),
        Column(
            "severity",
            "STRING",
            "critical stops the publish, warning is recorded",
            rules=(one_of("critical", "warning"),),
        ),
        Column("passed", "BOOLEAN", "Whether it held"),
        Column("row_count", "BIGINT", "Rows looked at", rules=(between(0, None),)),
        Column("unexpected_count", "BIGINT", "Rows that broke it, where it counts rows", True, (between(0, None),)),
        Column("reason", "STRING", "What must hold, in words"),
    ),
    key=("run_id", "table_name", "check_name"),
)
MODELS = Table(
    "ops.models",
    "one trained model; run_date is the last day of logs that it has seen",
    (
        RUN_DATE,
        MODEL_VERSION,
        Column(
            "kind",
            "STRING",
            "What it is for: recommend, demand, audience, profile, sentiment; null is recommend, in rows of before "
            "there were kinds",
            True,
            (not_blank(50),),
        ),
        Column("folder", "STRING", "Where it is, below the lake"),
        Column("base_sha256", "STRING", "Hash of the weights it started from; empty where a kind starts from none"),
        Column("weights_sha256", "STRING", "Hash of its weights"),
        Column("trained_from", "DATE", "First day of its training events"),
        Column(
            "cut_date",
            "DATE",
            "Last day of its training events; what follows, to run_date, chose the stop and fitted the ranker, or, of "
            "other kinds, compared it with the one in use",
        ),
        Column(
            "example_count",
            "BIGINT",
            "Rows it was trained on: of recommend, pairs of history and next purchase; of demand, pairs or items and "
            "dates; of audience, contacts",
            rules=(between(1, None),),
        ),
        Column(
            "metrics", "MAP<STRING, DOUBLE>", "Figures on days that were held out, of the model and of the one in use"
        ),
        Column(
            "ranker",
            "STRING",
            "Of recommend, its ranker before that learned from the newest night, as JSON: what later ones are compared "
            "with; empty for other kinds, whose folder has it (judged.json)",
        ),
        Column("promoted", "BOOLEAN", "Whether nights may use it"),
        Column("code_version", "STRING", "Version of Nightshelf that trained it"),
        Column("held", "BOOLEAN", "Whether it passed the gate and waits for make approve", True),
    ),
    key=(),
)
APPROVALS = Table(
    "ops.approvals",
    "one thing that a person approved: a model that was held, or the drift of a table of one run_date",
    (
        RUN_DATE,
        RUN_ID,
        Column("what", "STRING", "What was held", rules=(one_of("model", "drift"),)),
        Column("subject", "STRING", "The model's version, or the table whose figures drifted", rules=(not_blank(200),)),
        Column("approved_at", "TIMESTAMP", "When, UTC"),
        Column("approved_by", "STRING", "Who, as given, or the account that approved", rules=(not_blank(200),)),
        Column("reason", "STRING", "Why, if given", True),
    ),
    key=("run_id", "what", "subject"),
)
CUT_DATE = Column("cut_date", "DATE", "First day that the contender has not seen; the truth is this day and 27 more")
TASK = Column("task", "STRING", "A: all items; B: items new to the user", rules=(one_of("A", "B"),))
CONTENDER = Column("contender", "STRING", "What was measured: the night, a peer, an ablation", rules=(not_blank(100),))
METRICS = Table(
    "ops.metrics",
    "one figure of one contender on the days after a cut",
    (
        RUN_DATE,
        CUT_DATE,
        TASK,
        CONTENDER,
        Column("metric", "STRING", "What was measured, such as ndcg@10", rules=(not_blank(100),)),
        Column("slice", "STRING", "Of which users or items; 'all' for all", rules=(not_blank(200),)),
        Column("value", "DOUBLE", "The figure"),
        Column("low", "DOUBLE", "Lower end of its 95 % bootstrap interval over users", True),
        Column("high", "DOUBLE", "Upper end", True),
        Column("user_count", "BIGINT", "Users it is of", rules=(between(0, None),)),
    ),
    key=("cut_date", "task", "contender", "metric", "slice"),
)
EVALUATION_LISTS = Table(
    "ops.evaluation_lists",
    "one item of one contender's list for one user: the top 10 from which every figure can be computed again",
    (
        RUN_DATE,
        CUT_DATE,
        TASK,
        CONTENDER,
        Column("user_id", "STRING", "Identifies the user", personal=True),
        Column("rank", "INT", "Place in the list, from 1", rules=(between(1, 10),)),
        Column("item_id", "STRING", "Identifies the item"),
    ),
    key=("cut_date", "task", "contender", "user_id", "rank"),
)
COUNT = (between(0, None),)
ENCODES = Table(
    "ops.encodes",
    "what it took to have a vector of every text of one night; nothing but zeros and the reused where no text is new",
    (
        RUN_DATE,
        MODEL_VERSION,
        Column("texts", "BIGINT", "Different texts that a vector was wanted of", rules=COUNT),
        Column(
            "texts_reused",
            "BIGINT",
            "Of these, encoded earlier with this model: by a run or in its training",
            rules=COUNT,
        ),
        Column("texts_encoded", "BIGINT", "Of these, how many were encoded now", rules=COUNT),
        Column("forward_passes", "BIGINT", "Batches that went through the model", rules=COUNT),
        Column("real_tokens", "BIGINT", "Tokens of the encoded texts, [CLS] and [SEP] included", rules=COUNT),
        Column("real_token_share", "DOUBLE", "Of the tokens read: 1 without padding", True, (between(0, 1),)),
        Column("model_loads", "BIGINT", "How often a worker had to load the model", rules=COUNT),
        Column("load_seconds", "DOUBLE", "What that took, all workers together", rules=COUNT),
        Column("encode_seconds", "DOUBLE", "From texts to vectors, all workers together, without loading", rules=COUNT),
        Column("workers", "BIGINT", "Python workers that encoded", rules=COUNT),
        Column("texts_per_worker_second", "DOUBLE", "Encoded texts by encode_seconds", True, COUNT),
        Column("tokens_per_worker_second", "DOUBLE", "Real tokens by encode_seconds", True, COUNT),
        Column("peak_memory_bytes", "BIGINT", "Most resident memory that one worker ever held", True, COUNT),
    ),
    key=("model_version",),
)
MAINTENANCE = Table(
    "ops.maintenance",
    "what the upkeep of one date did to one table",
    (
        RUN_DATE,
        Column("table_name", "STRING", "The table", rules=(not_blank(100),)),
        Column("nights_deleted", "BIGINT", "Partitions that were too old", rules=COUNT),
        Column("files_before", "BIGINT", "Files of the newest version before it", rules=COUNT),
        Column("files_after", "BIGINT", "The same after it", rules=COUNT),
        Column("bytes_before", "BIGINT", "Their size before it", rules=COUNT),
        Column("bytes_after", "BIGINT", "Their size after it", rules=COUNT),
        Column(
            "files_removed", "BIGINT", "Files removed from storage, which no version that is kept names", rules=COUNT
        ),
    ),
    key=("table_name",),
)
FIGURES = Table(
    "ops.figures",
    "one figure of one gold table, or of one source's day, as one run was about to publish it, beside nights before",
    (
        RUN_DATE,
        RUN_ID,
        Column("table_name", "STRING", "The table", rules=(not_blank(100),)),
        Column("figure", "STRING", "What was measured (jobs/runner/drift.py)", rules=(not_blank(100),)),
        Column("value", "DOUBLE", "The figure"),
        Column("usual", "DOUBLE", "Its median over the newest nights before; null where there are too few", True),
        Column("low", "DOUBLE", "The least that the deployment's limits of drift let pass", True),
        Column("high", "DOUBLE", "The most", True),
    ),
    key=("run_id", "table_name", "figure"),
)
PUBLICATIONS = Table(
    "ops.publications",
    "one gold table of one publication of a night: the version to read so that all tables are of one night",
    (
        RUN_DATE,
        Column(
            "publication_id", "STRING", "Identifies the publication: the run that published", rules=(not_blank(64),)
        ),
        Column("published_at", "TIMESTAMP", "When that run started, UTC"),
        Column("current", "BOOLEAN", "Whether it is the night's newest publication"),
        Column("table_name", "STRING", "The table", rules=(not_blank(100),)),
        Column("version", "BIGINT", "The Delta version that holds its rows of this run_date", rules=COUNT),
        Column("row_count", "BIGINT", "How many rows of this run_date it holds", rules=COUNT),
        Column("model_version", "STRING", "The model that made them, where one did", True),
        Column("rows_of", "DATE", "The night whose rows they are: an earlier one after a rollback"),
    ),
    key=("publication_id", "table_name"),
    extra_checks=(
        row_check("rows_not_from_later", "rows_of <= run_date", "a night must not publish rows of a later one"),
        table_check(
            "one_model",
            f"SELECT {PARTITION} FROM {{batch}} WHERE current GROUP BY {PARTITION} "
            "HAVING count(DISTINCT model_version) > 1",
            "all tables of a night must come from one model: run the night's scoring jobs again",
        ),
        table_check(
            "one_current",
            f"SELECT {PARTITION} FROM {{batch}} WHERE current GROUP BY {PARTITION} "
            "HAVING count(DISTINCT publication_id) > 1",
            "a night has one current publication",
        ),
    ),
)

BACKTESTS = Table(
    "ops.backtests",
    "one figure of one contender, had it planned on earlier dates what followed up to run_date",
    (
        RUN_DATE,
        Column("plan", "STRING", "What was planned", rules=(one_of("demand", "stock", "audiences"),)),
        Column("contender", "STRING", "Who planned: nightshelf or a peer", rules=(not_blank(200),)),
        Column("slice", "STRING", "Of what, such as a level and a cut date", rules=(not_blank(200),)),
        Column("metric", "STRING", "The figure's name", rules=(not_blank(100),)),
        Column("value", "DOUBLE", "The figure; null where it cannot be had", True),
        Column("low", "DOUBLE", "Lower end of its 95 % bootstrap interval", True),
        Column("high", "DOUBLE", "Upper end of it", True),
    ),
    key=("plan", "contender", "slice", "metric"),
)
ALLOCATIONS = Table(
    "ops.allocations",
    "how good the night's choice of users for campaigns is",
    (
        RUN_DATE,
        Column("pairs", "BIGINT", "Pairs of a user and a running campaign", rules=COUNT),
        Column("chosen", "BIGINT", "Of these, chosen", rules=COUNT),
        Column("value", "DOUBLE", "What the chosen ones are expected to bring", rules=COUNT),
        Column("upper_bound", "DOUBLE", "What no choice within the limits can exceed", rules=COUNT),
        Column("gap", "DOUBLE", "How far value may be from the best, as a share of the bound", rules=(between(0, 1),)),
        Column("is_exact", "BOOLEAN", "Whether it was solved to the optimum"),
    ),
    key=(PARTITION,),
)

TABLES = (
    *(RUNS, CHECKS, MODELS, APPROVALS, METRICS, EVALUATION_LISTS, BACKTESTS, ALLOCATIONS),
    *(ENCODES, MAINTENANCE, FIGURES, PUBLICATIONS),
)
