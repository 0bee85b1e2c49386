"""One declaration, many derivations: each must say the same of the same rows."""

from __future__ import annotations

import datetime as dt

import great_expectations as gx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from jobs.runner import audit_counts, delta_log, quality
from jobs.runner.findings import balance_check, refusal
from jobs.runner.schema_check import check_schema
from jobs.transforms.reasons import reasons_of
from schemas import TABLES, gold, silver
from schemas.contract import Check, Column, Table, between, not_blank, one_of, row_check
from schemas.derive import constraints, delta_type, example_rows, reference_page
from schemas.errors import DataError

RUN_DATE = Column("run_date", "DATE", "The night")
NAME = Column("name", "STRING", "A name, which isn't empty", rules=(not_blank(5),))
AGE = Column("age", "INT", "Years", True, (between(0, 120),))
KIND = Column("kind", "STRING", "What it is", True, (one_of("cat", "dog"),))
PETS = Table(
    "silver.pets",
    "one pet",
    (RUN_DATE, NAME, AGE, KIND),
    key=("name",),
    extra_checks=(row_check("old_cats", "kind = 'cat' OR age < 30", "only cats grow older than 30"),),
)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_starts_with_its_partition_and_comments_every_column(table):
    assert table.column_names[0] == "run_date"
    assert all(column.comment and not column.comment.endswith(".") for column in table.columns)
    assert table.parameter in (table.short_name, f"bronze_{table.short_name}")


def test_parameters_tell_tables_apart():
    assert len({table.parameter for table in TABLES.values()}) == len(TABLES)


def test_a_contradictory_declaration_is_refused():
    with pytest.raises(ValueError, match="twice"):
        Table("silver.x", "", (RUN_DATE, NAME, NAME), key=())
    with pytest.raises(ValueError, match="first column is run_date"):
        Table("silver.x", "", (NAME, RUN_DATE), key=())
    with pytest.raises(ValueError, match=r"not declared: \['size'\]"):
        Table("silver.x", "", (RUN_DATE, NAME), key=("size",))
    with pytest.raises(ValueError, match="layer one of"):
        Table("platinum.x", "", (RUN_DATE, NAME), key=())


def test_a_table_is_created_with_types_nullability_comments_and_constraints(tmp_path):
    created = delta_log.create(PETS, str(tmp_path / "pets"))
    fields = {field.name: field for field in created.schema().fields}
    assert fields["name"].metadata == {"comment": "A name, which isn't empty"}
    assert [name for name, field in fields.items() if field.nullable] == ["age", "kind"]
    assert created.metadata().partition_columns == []
    assert set(constraints(PETS)) == {"name_not_blank", "age_in_range", "kind_known", "old_cats"}
    stored = created.metadata().configuration["delta.constraints.age_in_range"]
    assert stored == "(`age` >= 0 AND `age` <= 120) IS NOT FALSE"


def test_a_table_follows_its_contract_where_a_check_is_worded_otherwise_by_now(tmp_path):
    path = str(tmp_path / "pets")
    delta_log.create(PETS, path).alter.set_table_properties(
        {"delta.constraints.kind_known": "(`kind` IN ('cat')) IS NOT FALSE"}, raise_if_not_exists=False
    )
    opened = delta_log.open_table(path)
    for _ in range(2):
        delta_log.follow_properties(PETS, opened)
    followed = delta_log.open_table(path)
    stored = followed.metadata().configuration
    assert {name: stored[f"delta.constraints.{name}"] for name in constraints(PETS)} == constraints(PETS)
    assert followed.version() == 2, "once is enough"


def test_types_are_written_as_delta_writes_them():
    assert [delta_type(name) for name in ("BIGINT", "DATE", "DECIMAL(18,3)")] == ["long", "date", "decimal(18,3)"]
    assert delta_type("ARRAY<STRING>") == {"type": "array", "elementType": "string", "containsNull": True}
    assert delta_type("MAP<STRING, BIGINT>")["valueType"] == "long"


def test_reference_page_names_every_table_and_column():
    page = reference_page(TABLES.values())
    for table in TABLES.values():
        assert f"## {table.name}" in page
        assert all(f"| `{column.name}` |" in page for column in table.columns)


# The same dirty rows for the row split, for Great Expectations and for Delta's constraints.
DIRTY = [
    ("rex", 3, "dog", []),
    ("tom", None, None, []),  # null counts as good where it is allowed
    (None, 3, "dog", ["name is missing"]),
    ("", 3, "dog", ["name must have 1 to 5 characters"]),
    ("bello", 121, "dog", ["age must be at least 0 and at most 120", "only cats grow older than 30"]),
    ("mimi", 40, "cat", []),
    ("fiffi", 40, "dog", ["only cats grow older than 30"]),
    ("nemo", 1, "fish", ["kind must be one of cat, dog"]),
    ("rex", 4, "dog", []),  # a second rex: no single row breaks the key, only the table does
]


@pytest.fixture
def dirty(spark):
    data = [(dt.date(2024, 1, 1), name, age, kind) for name, age, kind, _ in DIRTY]
    return spark.createDataFrame(data, "run_date DATE, name STRING, age INT, kind STRING")


def test_row_rules_give_each_row_its_reasons(dirty):
    found = dirty.select(reasons_of(PETS.row_checks()).alias("reasons")).collect()
    assert [[reason.sentence for reason in row.reasons] for row in found] == [reasons for *_, reasons in DIRTY]
    assert [reason.code for reason in found[4].reasons] == ["age_in_range", "old_cats"]


def test_expectations_count_what_the_row_rules_split(dirty):
    audit = quality.audit(PETS, dirty.persist())
    counts = {finding.check.reason: finding.unexpected_count for finding in audit.findings if not finding.passed}
    by_rows: dict[str, int] = {}
    for *_, reasons in DIRTY:
        for reason in reasons:
            by_rows[reason] = by_rows.get(reason, 0) + 1
    assert counts == by_rows | {"(run_date, name) must be unique": 1}


def newest_execution(spark):
    """The number of the session's newest SQL execution; of older ones few are retained."""
    return spark._jsparkSession.sharedState().statusStore().executionsList().last().executionId()


def test_an_audit_is_one_query_and_fetches_no_row(spark, dirty):
    frame = dirty.persist()
    frame.count()
    before = newest_execution(spark)
    audit = quality.audit(PETS, frame)
    assert len([finding for finding in audit.findings if not finding.passed]) > 3
    assert newest_execution(spark) - before == 1


def test_the_librarys_own_engine_finds_the_same(dirty):
    """The oracle: Great Expectations on Spark itself, a dozen Spark jobs for what one aggregate counts."""
    frame = dirty.persist()
    stated = {check.name: F.expr(check.sql) for check in PETS.checks() if check.sql and check.column is None}
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_spark("oracle").add_dataframe_asset("frames")
    batch = asset.add_batch_definition_whole_dataframe("frame").get_batch({"dataframe": frame.withColumns(stated)})
    judged = batch.validate(quality.suite(PETS), result_format="SUMMARY")
    theirs = {
        result.expectation_config.meta["check"]: (
            bool(result.success),
            result.result.get("unexpected_count", result.result.get("observed_value")),
        )
        for result in judged.results
    }
    ours = {
        finding.check.name: (finding.passed, finding.unexpected_count)
        for finding in quality.audit(PETS, frame).findings
    }
    assert ours == theirs


@given(keys=st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from(["x", "y"])), max_size=8))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_that_share_a_key_are_counted_with_nulls(spark, keys):
    frame = spark.createDataFrame(keys, "one STRING, two STRING")
    check = Check("key_unique", "", "", query="", distinct=("one", "two"))
    assert audit_counts.count(frame, [check]).broken["key_unique"] == len(keys) - len(set(keys))


def test_delta_refuses_what_the_rules_refuse(spark, dirty, tmp_path):
    path = str(tmp_path / "pets")
    delta_log.create(PETS, path)
    for place, (*_, reasons) in enumerate(DIRTY):
        row = spark.createDataFrame(dirty.collect()[place : place + 1], dirty.schema)
        if not reasons:
            row.write.format("delta").mode("append").save(path)
            continue
        with pytest.raises(Exception, match=r"CHECK constraint|NOT NULL"):
            row.write.format("delta").mode("append").save(path)


@pytest.mark.parametrize("counted_by", [None, "age"])
def test_no_row_in_is_no_row_kept_and_none_rejected(spark, dirty, counted_by):
    none = dirty.limit(0).persist()
    assert quality.audit(PETS, none, [balance_check(0, counted_by)]).refused == []
    assert len(quality.audit(PETS, none, [balance_check(1, counted_by)]).refused) == 1


def test_the_page_of_an_audit_shows_no_value_of_a_row(spark):
    row = [(dt.date(2024, 1, 1), "a-very-private-name", 200, "a-private-kind")]
    frame = spark.createDataFrame(row, "run_date DATE, name STRING, age INT, kind STRING").persist()
    audit = quality.audit(PETS, frame)
    assert len(audit.refused) == 4
    assert "private" not in audit.page
    assert "only cats grow older than 30" in audit.page


def test_the_error_of_a_refused_table_names_column_and_value(dirty):
    text = str(refusal([(quality.audit(PETS, dirty.persist()), dirty)]))
    assert "silver.pets: kind must be one of cat, dog: 1 of 9 rows do not, e.g. run_date=2024-01-01, name=nemo" in text
    assert "kind=fish" in text
    assert "(run_date, name) must be unique" in text
    assert "name=rex" in text


def test_warnings_do_not_refuse(spark):
    table = Table(
        "silver.pets", "one pet", (RUN_DATE, Column("age", "INT", "Years", rules=(between(0, 9, "warning"),))), key=()
    )
    frame = spark.createDataFrame([(dt.date(2024, 1, 1), 99)], "run_date DATE, age INT").persist()
    audit = quality.audit(table, frame)
    assert [finding.passed for finding in audit.findings if finding.check.column == "age"] == [True, False]
    assert not audit.refused
    assert "age_in_range" not in constraints(table)


A_DAY = {"rows_in": 5, "rows_kept": 3}  # a sum
# What the values of one row must be together, which filling in column by column cannot know.
STATED = {
    "silver.events": {"item_id": "i1"},  # null only for a search
    **dict.fromkeys(("silver.cleaned_days", "silver.cleaned_ad_days", "silver.cleaned_promotion_days"), A_DAY),
    "silver.cleaned_review_days": A_DAY,
    "silver.reviews": {"stars": 4},  # or a text
    "gold.demand_forecast": {"target_week": dt.date(2024, 2, 1), "dispersion": 1.5},
    "gold.item_demand": {"target_week": dt.date(2024, 2, 1), "dispersion": 1.5},
    "gold.inventory_actions": {"action": "transfer", "from_location_id": "elsewhere", "quantity": 1},
    "gold.ad_audiences": {"is_control": True},
    "silver.suspects": {"score": 1.5},
}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_example_rows_are_sound_and_the_audit_agrees(table, rows):
    stated = STATED.get(table.name, {})
    frame = rows(table, stated, stated)
    check_schema(table, frame, "test")
    refused = {finding.check.name for finding in quality.audit(table, frame.persist()).refused}
    # Ranks are for the test to state: two filled rows share one. Nor do two days make four weeks.
    assert refused <= {
        "ranks_dense",
        "key_unique",
        *({"weeks_complete"} & {check.name for check in table.extra_checks}),
    }


def test_example_rows_refuse_unknown_columns():
    with pytest.raises(KeyError, match="colour"):
        example_rows(silver.EVENTS, {"colour": "red"})


def test_schema_differences_are_listed_field_by_field(spark):
    frame = spark.createDataFrame([], "run_date DATE, user_id STRING, rank BIGINT, colour STRING")
    with pytest.raises(DataError) as caught:
        check_schema(gold.RECOMMENDATIONS, frame, "as the job made it")
    message = str(caught.value)
    assert message.startswith("gold.recommendations (as the job made it): lacks item_id string")
    assert "has rank as bigint, not int" in message
    assert "has colour string, which the contract does not know" in message
