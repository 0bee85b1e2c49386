"""Links between user ids by what their identity records agree in, and the groups of ids that the links connect.

Keys that two ids share propose the pair; udfs/persons/pairs.py judges it. Stored are ids and what linked them alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from schemas.persons import OF_SOURCE
from udfs.persons.pairs import FIELDS, probability

ROUNDS = 12  # of joining groups: each doubles the length of the chains that they follow
PHONE_DIGITS = 9  # the last ones: 0049 30 1234567, +49 30 1234567 and 030 1234567 are one number
FEWEST_DIGITS = 6
# What two ids may have in common to be compared: the columns, sorted where names may be exchanged. What a person has of
# their own, then combinations which one error in one field spares another of.
KEYS: dict[str, tuple[str, ...]] = {
    "email": ("email",),
    "phone": ("phone",),
    "card_id": ("card_id",),
    "names and birth date": ("given_name", "family_name", "birth_date"),
    "names and postcode": ("given_name", "family_name", "postcode"),
    "family name and birth date": ("family_name", "birth_date"),
    "given name and birth date": ("given_name", "birth_date"),
    "birth date and postcode": ("birth_date", "postcode"),
    "birth date and street": ("birth_date", "street"),
    "family name and street": ("family_name", "street"),
    "given name and street": ("given_name", "street"),
}
OWN = ("email", "phone", "card_id")  # of all records of an id, not of the newest alone
PAIR = "one STRING, other STRING, methods ARRAY<STRING>, probability DOUBLE"


def in_normal_form(records: DataFrame) -> DataFrame:
    """The records with each of FIELDS in the form in which equal means the same; null where nothing is left."""

    def signs(name: str) -> Column:  # letters and digits, accents dropped where the letter has one of its own
        plain = F.translate(F.lower(name), "àáâãäåèéêëìíîïòóôõöùúûüçñýÿ", "aaaaaaeeeeiiiiooooouuuucnyy")
        return F.regexp_replace(plain, r"[^\p{L}\p{N}]", "")

    digits = F.regexp_replace("phone", "[^0-9]", "")
    forms = {name: signs(name) for name in FIELDS} | {
        "email": F.when(F.lower("email").rlike(r"^[^@\s]+@[^@\s]+\.[^@\s]+$"), F.lower("email")),
        "phone": F.when(F.length(digits) >= FEWEST_DIGITS, F.right(digits, F.lit(PHONE_DIGITS))),
    }
    return records.withColumns({name: F.nullif(form, F.lit("")) for name, form in forms.items()})


def keys_of(records: DataFrame, newest: DataFrame) -> DataFrame:
    """source_user_id, kind, value, each once: the keys of an id, by all its records (OWN) or its newest (`newest`)."""
    own = records.select(OF_SOURCE, F.explode(_entries({kind: KEYS[kind] for kind in OWN})).alias("key"))
    others = {kind: columns for kind, columns in KEYS.items() if kind not in OWN}
    combined = newest.select(OF_SOURCE, F.explode(_entries(others)).alias("key"))
    return own.unionByName(combined).select(OF_SOURCE, "key.kind", "key.value").where("value IS NOT NULL").distinct()


def _entries(keys: dict[str, tuple[str, ...]]) -> Column:
    """(kind, value) of each key of a record; null where one of its columns is."""
    values = {kind: reduce(lambda a, b: F.concat(a, F.lit("\0"), b), _in_order(names)) for kind, names in keys.items()}
    return F.array(*(F.struct(F.lit(kind).alias("kind"), value.alias("value")) for kind, value in values.items()))


def _in_order(names: tuple[str, ...]) -> list[Column]:
    """The columns; given and family name sorted, for some systems exchange them."""
    if "given_name" not in names or "family_name" not in names:
        return [F.col(name) for name in names]
    both = [F.least("given_name", "family_name"), F.greatest("given_name", "family_name")]
    given = F.col("given_name").isNotNull() & F.col("family_name").isNotNull()
    return [F.when(given, both[0]), both[1], *(F.col(name) for name in names[2:])]


def counted(keys: DataFrame) -> DataFrame:
    """The keys with `ids`: by how many ids each is shared."""
    return keys.withColumn("ids", F.count("*").over(Window.partitionBy("kind", "value")))


def links(keys: DataFrame, newest: DataFrame, max_shared: int, min_probability: float) -> DataFrame:
    """one, other (ids, the first smaller), methods (the kinds of keys that they share), probability.

    keys: `counted`; a key that more than `max_shared` ids have links nobody. newest: the newest record of each id.
    """
    usable = keys.where((F.col("ids") > 1) & (F.col("ids") <= max_shared))
    one, other = (usable.select(F.col(OF_SOURCE).alias(name), "kind", "value") for name in ("one", "other"))
    pairs = (
        one.join(other, ["kind", "value"], "inner")
        .where("one < other")
        .groupBy("one", "other")
        .agg(F.sort_array(F.collect_set("kind")).alias("methods"))
    )
    for name in ("one", "other"):
        details = newest.select(F.col(OF_SOURCE).alias(name), F.array(*FIELDS).alias(f"of_{name}"))
        pairs = pairs.join(details, name, "inner")
    return (
        pairs.select("one", "other", "methods", "of_one", "of_other")
        .mapInArrow(_judged, PAIR)
        .where(F.col("probability") >= min_probability)
    )


def _judged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each pair with its probability in place of the details."""
    for batch in batches:
        rows = zip(*(batch.column(name).to_pylist() for name in ("of_one", "of_other", "methods")), strict=True)
        found = pa.array([probability(one, other, methods) for one, other, methods in rows], pa.float64())
        yield pa.RecordBatch.from_arrays([batch.column(name) for name in ("one", "other", "methods")] + [found], _NAMES)


_NAMES = ["one", "other", "methods", "probability"]


def methods(linked: DataFrame) -> DataFrame:
    """source_user_id, methods, probability (of the best) of each id's links."""
    both = linked.select(F.explode(F.array("one", "other")).alias(OF_SOURCE), "methods", "probability")
    return both.groupBy(OF_SOURCE).agg(
        F.array_sort(F.array_distinct(F.flatten(F.collect_list("methods")))).alias("methods"),
        F.max("probability").alias("probability"),
    )


def shared_keys(keys: DataFrame, max_shared: int) -> DataFrame:
    """source_user_id, shared: the kinds of an id's keys that more than `max_shared` ids have."""
    return keys.where(F.col("ids") > max_shared).groupBy(OF_SOURCE).agg(F.collect_set("kind").alias("shared"))


def groups(linked: DataFrame, max_ids: int) -> DataFrame:
    """source_user_id, label (the smallest id of those that it is connected with), too_large; linked ids alone.

    too_large: the group has more than `max_ids` ids, or a chain of links that ROUNDS do not follow to its end. Minimum
    labels are passed along the links, and labels replaced by those of their own ids, until nothing changes (Stergiou,
    Rughwani and Tsioutsiouliklis, 2018); each round is a leaf of the next one's plan.
    """
    ways = linked.select("one", "other")
    ways = ways.unionByName(ways.select(F.col("other").alias("one"), F.col("one").alias("other"))).localCheckpoint()
    labels = ways.groupBy("one").agg(F.least("one", F.min("other")).alias("label")).localCheckpoint()
    for _ in range(ROUNDS):
        apart = _apart(ways, labels)
        if apart.isEmpty():
            break
        near = labels.withColumnsRenamed({"one": "other", "label": "near"})
        smallest = ways.join(near, "other", "inner").groupBy("one").agg(F.min("near").alias("near"))
        passed = labels.join(smallest, "one", "inner").select("one", F.least("label", "near").alias("label"))
        next_label = labels.select(F.col("one").alias("label"), F.col("label").alias("next"))
        labels = passed.join(next_label, "label", "left")
        labels = labels.select("one", F.coalesce("next", "label").alias("label")).localCheckpoint()
    open_labels = _apart(ways, labels).select("label").distinct().withColumn("open", F.lit(True))
    sizes = labels.groupBy("label").count().join(open_labels, "label", "left")
    large = F.coalesce("open", F.lit(False)) | (F.col("count") > max_ids)
    named = labels.withColumnRenamed("one", OF_SOURCE)
    sized = named.join(sizes.select("label", large.alias("too_large")), "label", "inner")
    return sized.select(OF_SOURCE, "label", "too_large")


def _apart(ways: DataFrame, labels: DataFrame) -> DataFrame:
    """The links, both ways, of which the ends have different labels."""
    end = labels.withColumnsRenamed({"one": "other", "label": "end"})
    return ways.join(labels, "one", "inner").join(end, "other", "inner").where("label <> end")
