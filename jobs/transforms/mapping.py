"""One canonical row per bronze record: the deployment's SQL over the raw columns, and what is wrong with it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import groupby

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructType, TimestampType

from jobs.transforms import file_names, shop_time
from jobs.transforms.reasons import because, has_code, only, reasons_of
from schemas import TABLES
from schemas.clock import UTC, ShopClock
from schemas.contract import Check, Table
from schemas.deployment import Deployment
from schemas.derive import plain_ddl
from schemas.errors import ConfError
from schemas.reason_codes import UNREADABLE, not_converted, own, unread
from schemas.silver import RECORDS_OF
from schemas.source import Source, section

# Trimmed from fields: Unicode's white space, and the invisible characters that joining or copying files leaves.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
INVISIBLE = "\u200b\ufeff"


def mapped(bronze: DataFrame, deployment: Deployment, kind: str) -> DataFrame:
    """canonical() of the records of one kind, each by its own source, with the name of the source as `source`."""
    table, sources, clock = RECORDS_OF[kind], deployment.of_kind(kind), deployment.clock
    name = F.coalesce("source", F.lit(kind))
    parts = [
        _of_order(
            canonical(bronze if len(sources) == 1 else bronze.where(name == of), source, table, clock), of, source
        )
        for of, source in sources.items()
    ]
    return reduce(lambda union, part: union.unionByName(part, allowMissingColumns=True), parts)


def _of_order(records: DataFrame, name: str, source: Source) -> DataFrame:
    """The records with `source` and, if the source has `replaces`, order_id with the source's name as a prefix."""
    named = records.withColumn("source", F.lit(name))
    return named.withColumn("order_id", F.concat(F.lit(f"{name}:"), source.replaces)) if source.replaces else named


def canonical(bronze: DataFrame, source: Source, table: Table, clock: ShopClock = UTC) -> DataFrame:
    """Each record with the mapped columns of `table`, its file, line, text and `file_values` (what `from_name` takes of
    its file's name, null without it), and two columns of REASONS: `broken` (why it could not be read or converted, and
    which of the deployment's rules reject it) and `lost`.

    A record is mapped by the version of the source that holds on its run_date. Fields are trimmed of white space of any
    kind; empty ones become null. A mapped value that does not convert to its column's type is null and has a reason in
    `broken`; so has a time without a date, or one that the clock skipped (shop_time.py). A value that the deployment's
    own SQL could not convert has one in `broken` if its column is required, else in `lost`, which rejects no record.
    """
    if not source.changes:
        return _as_of(bronze, source, table, clock)
    days = sorted(row["run_date"] for row in bronze.select("run_date").distinct().collect())
    by_version = []
    for version, group in groupby(days or [dt.date.max], source.on):
        dates = list(group)
        by_version.append(_as_of(bronze.where(F.col("run_date").between(dates[0], dates[-1])), version, table, clock))
    return reduce(lambda earlier, later: earlier.unionByName(later, allowMissingColumns=True), by_version)


def _as_of(bronze: DataFrame, source: Source, table: Table, clock: ShopClock) -> DataFrame:
    """canonical() by one version of a source; its rules may name a raw column as `log.<column>`."""
    place = bronze.select(
        "run_date",
        "source_file",
        "source_row",
        "raw",
        file_names.joined(source, F.col("source_file")).alias("file_values"),
        F.when(F.col("problem").isNotNull(), only(because(UNREADABLE, F.col("problem")))).alias("_unreadable"),
        F.struct(*_raw_columns(source)).alias("log"),
    )
    names = list(source.map)
    values = _values(place, source, table, clock)
    with shop_time.building(bronze.sparkSession, clock.timezone):
        typed = [column for name in names for column in _typed_value(table, name, values.schema, clock)]
        converted = values.select(*place.columns, *(f"_{name}" for name in names), *typed)
        converted = _without_guests(converted, source)
        optional = [name for name in names if table.column(name).nullable]
        lost = {name: _is_no(table, name, _given_but_unfit(source, table, name)) for name in names}
        failed = [_is_no(table, name, F.col(f"_{name}").isNotNull()) for name in names]
        failed += [lost[name] for name in names if name not in optional]
        rejected = [
            F.when(F.coalesce(F.expr(rule), F.lit(False)), because(own(sentence)))
            for sentence, rule in source.reject.items()
        ]
        broken = F.coalesce("_unreadable", F.array_distinct(only(*failed, *rejected)))
        by_its_sql = only(*(lost[name] for name in optional))
        return converted.select(
            *("run_date", "source_file", "source_row", "raw", "file_values"),
            *names,
            broken.alias("broken"),
            by_its_sql.alias("lost"),
        )


def _values(place: DataFrame, source: Source, table: Table, clock: ShopClock) -> DataFrame:
    """The records with the result of the deployment's SQL for each mapped column, as `_<column>`.

    SQL that names the zone of its times is built in UTC. For other SQL with a TIMESTAMP as its result, `_far_<column>`
    is the result in shop_time.FAR.
    """
    spark = place.sparkSession
    by_itself = {name: sql for name, sql in source.map.items() if shop_time.NAMES_ITS_ZONE.search(sql)}
    local = {name: sql for name, sql in source.map.items() if name not in by_itself}
    with shop_time.building(spark, clock.timezone):
        values = _with(place, "_", local)
    if by_itself:
        with shop_time.building(spark):
            values = _with(values, "_", by_itself)
    wanted = {name: sql for name, sql in local.items() if table.column(name).type == "TIMESTAMP"}
    times = {name: sql for name, sql in wanted.items() if isinstance(values.schema[f"_{name}"].dataType, TimestampType)}
    if times and clock.timezone != UTC.timezone:
        with shop_time.building(spark, shop_time.FAR):
            values = _with(values, "_far_", times)
    return values


def _with(records: DataFrame, prefix: str, sql: Mapping[str, str]) -> DataFrame:
    """The records and these expressions, which see the raw columns alone: a log may have one named raw or run_date."""
    inner = records.select(F.struct("*").alias("_record"), "log.*")
    return inner.select("_record.*", *(F.expr(expression).alias(f"{prefix}{name}") for name, expression in sql.items()))


def completed(mapped: DataFrame, table: Table, names: Sequence[str]) -> DataFrame:
    """canonical()'s records, with null for those of these columns that the deployment does not map."""
    absent = [name for name in names if name not in mapped.columns]
    return mapped.select("*", *(_typed(table, name) for name in absent))


def all_reasons(table: Table, columns: Sequence[str]) -> Column:
    """`broken` and, for a record that could be read, every row check of the contract about these columns."""
    about = [
        _unless_unconvertible(table, check)
        for check in table.row_checks()
        if check.column in columns
        or (check.column is None and all(c in columns for c in table.column_names if c in str(check.sql)))
    ]
    broken, of_contract = F.col("broken"), reasons_of(about)
    # A value that the deployment's SQL turned into null is a reason only where the contract requires that column.
    missing = [
        f"{not_converted(table, column.name).code} {check.name}"
        for column in table.columns
        for check in about
        if re.search(rf"\b{column.name}\b", str(check.sql))
    ]

    def missed(no: Column) -> Column:
        return F.exists(of_contract, lambda reason: F.concat_ws(" ", no["code"], reason["code"]).isin(missing))

    intact = (F.size(broken) == 0) & (F.size("lost") == 0)  # most records: no reasons but the contract's
    every = F.array_distinct(F.concat(broken, F.filter("lost", missed), of_contract))
    return F.when(intact, of_contract).when(has_code(broken, UNREADABLE.code), broken).otherwise(every)


def check_mappings(spark: SparkSession, deployment: Deployment) -> None:
    """Refuse a deployment whose SQL does not fit its own columns, before anything is read; ConfError names the key."""
    for name, source in deployment.sources.items():
        for since, version in source.versions():
            _check_mapping(spark, deployment.file, name, since, version)
    _check_list_rules(spark, deployment)


def first_problem(frame: DataFrame, expressions: Mapping[str, str]) -> tuple[str, str] | None:
    """The first of these named SQL expressions that Spark cannot analyse over the frame's columns, and why; or None."""
    try:
        frame.select(*(F.expr(sql) for sql in expressions.values()))  # analysed, never executed
    except PySparkException:
        for name, sql in expressions.items():
            try:
                frame.select(F.expr(sql))
            except PySparkException as error:
                return name, str(error).strip().split("\n")[0]
        raise
    return None


def _check_mapping(spark: SparkSession, file: str, of: str, since: dt.date, source: Source) -> None:
    """Check one version of a source: its SQL over its raw columns, its rules over the mapped columns."""
    table = RECORDS_OF[source.kind or of]
    names = (*source.columns, *source.from_name)
    raw = spark.createDataFrame([], ", ".join(f"`{column}` STRING" for column in names))
    with shop_time.building(spark):
        casts = {name: f"try_cast(({sql}) AS {table.column(name).type})" for name, sql in source.map.items()}
        if wrong := first_problem(raw, casts):
            name, why = wrong
            raise ConfError(f"{file}: {section(of, 'map', since)} {name} = {source.map[name]!r}: {why}")
        mapped = raw.select(F.struct("*").alias("log"), *(_typed(table, name) for name in source.map))
        rules = {reason: f"({rule}) AND true" for reason, rule in source.reject.items()}
        if wrong := first_problem(mapped, rules):
            reason, why = wrong
            rule = source.reject[reason]
            raise ConfError(f"{file}: {section(of, 'reject', since)} {reason!r} = {rule!r}: {why}")


def _check_list_rules(spark: SparkSession, deployment: Deployment) -> None:
    """Check the SQL of rank_recommendations and [variants] over the columns of silver.items."""
    settings = deployment.jobs.get("rank_recommendations", {})
    rules = {f"[jobs.rank_recommendations] {key}": settings.get(key, "") for key in ("exclude", "boost")}
    rules |= {"[variants] product": deployment.variants.product}
    typed = {"exclude": "({}) AND true", "boost": "CAST(({}) AS DOUBLE)", "product": "CAST(({}) AS STRING)"}
    forms = {key: typed[key.split()[-1]].format(sql) for key, sql in rules.items() if sql}
    if wrong := first_problem(spark.createDataFrame([], plain_ddl(TABLES["silver.items"])), forms):
        key, why = wrong
        raise ConfError(f"{deployment.file}: {key} = {rules[key]!r}: {why}")


def _unless_unconvertible(table: Table, check: Check) -> Check:
    """The check, passed by a value that did not convert: it is not also reported missing."""
    if not check.name.endswith("_present"):
        return check
    codes = ", ".join(f"'{reason.code}'" for reason in unread(table, str(check.column)))
    return replace(check, sql=f"{check.sql} OR exists(broken, reason -> reason.code IN ({codes}))")


def _without_guests(converted: DataFrame, source: Source) -> DataFrame:
    """The records with null for a user_id in the source's guest_ids, as for any guest."""
    if not source.guest_ids or "user_id" not in source.map:
        return converted
    known = ~F.col("user_id").isin(source.guest_ids)
    return converted.withColumns({name: F.when(known, F.col(name)) for name in ("user_id", "_user_id")})


def _raw_columns(source: Source) -> list[Column]:
    """The source's raw columns; empty ones of `carry_down` take the last value of an earlier line of their group."""
    raw = {
        name: F.nullif(F.trim(F.get("fields", F.lit(place)), F.lit(WHITE_SPACE + INVISIBLE)), F.lit(""))
        for place, name in enumerate(source.columns)
    }
    if source.carry_down:
        group = raw[source.carry_down_within]
        lines = Window.partitionBy("run_date", "source_file", group).orderBy("source_row")
        for name in source.carry_down:
            last = F.last(raw[name], ignorenulls=True).over(lines.rowsBetween(Window.unboundedPreceding, 0))
            raw[name] = F.when(group.isNotNull(), last).otherwise(raw[name])
    raw |= file_names.values(source, F.col("source_file"))
    return [column.alias(name) for name, column in raw.items()]


def _is_no(table: Table, name: str, condition: Column) -> Column:
    """The reason for a null value where the condition holds: it was given, and did not convert."""
    why = because(not_converted(table, name))
    if table.column(name).type == "TIMESTAMP":
        why = F.coalesce(f"_why_{name}", why)
    return F.when(F.col(name).isNull() & condition, why)


def _given_but_unfit(source: Source, table: Table, name: str) -> Column:
    """Whether all raw columns that a column's SQL names are given and, for a numeric column, one of them is no number.

    If the value is null nevertheless, a conversion in that SQL failed, such as try_cast('many' AS INT).
    """
    wanted, sql = table.column(name).type, source.map[name]
    named = [column for column in source.columns if re.search(rf"(?<!\w){re.escape(column)}(?!\w)", sql, re.IGNORECASE)]
    raw = [F.col("log").getField(column) for column in named]
    if wanted == "STRING" or wanted.startswith(("ARRAY", "MAP")) or not raw:
        return F.lit(False)
    given = reduce(Column.__and__, (value.isNotNull() for value in raw))
    if wanted in ("DATE", "TIMESTAMP"):
        return given
    return given & reduce(Column.__or__, (value.try_cast(wanted).isNull() for value in raw))


def _typed_value(table: Table, name: str, mapped: StructType, clock: ShopClock) -> list[Column]:
    """A mapped value as its column's type; for a TIMESTAMP also `_why_<column>`, why it is null."""
    wanted, value, of = table.column(name).type, F.col(f"_{name}"), mapped[f"_{name}"].dataType
    if wanted == "TIMESTAMP":
        far = F.col(f"_far_{name}") if f"_far_{name}" in mapped.names else None
        moment = shop_time.moment(name, value, of, clock, far)
        return [moment.value.alias(name), moment.why.alias(f"_why_{name}")]
    if wanted == "DATE":
        return [shop_time.day(value, of, clock).alias(name)]
    return [F.expr(f"try_cast(`_{name}` AS {wanted})").alias(name)]


def _typed(table: Table, name: str) -> Column:
    return F.lit(None).cast(table.column(name).type).alias(name)
