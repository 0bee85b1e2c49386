"""Which user ids of the shop's systems are of one person, by their identity records."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.transforms import identities, person_ids, pseudonyms
from jobs.transforms.deduplicate import newest as newest_of
from jobs.transforms.held import held
from jobs.transforms.mapping import all_reasons, completed, mapped
from jobs.transforms.reasons import rejected, sound
from schemas import persons as tables
from schemas.errors import ConfError
from schemas.run import RunContext


def link_persons(
    bronze_identities: DataFrame,
    persons: DataFrame,
    *,
    run: RunContext,
    max_shared: int = 20,
    max_ids: int = 20,
    min_probability: float = 0.99,
) -> dict[str, DataFrame]:
    """silver.persons: a row a user id with an identity record up to run_date. ops.person_changes; rejected records.

    Two ids are linked where their records share a key (an e-mail address, say, or names and birth date) and are of one
    person with at least `min_probability`. A key that more than `max_shared` ids have links nobody; a group of more
    than `max_ids` ids that links connect changes nothing. All records of an id count for its e-mail addresses, phones
    and cards; the newest for the rest.
    """
    if not 0.5 <= min_probability < 1 or min(max_shared, max_ids) < 2:
        raise ConfError(
            f"[jobs.link_persons] min_probability must be from 0.5 to below 1 and max_shared and max_ids at least 2; "
            f"they are {min_probability}, {max_shared} and {max_ids}"
        )
    table = tables.IDENTITIES
    canonical = completed(mapped(bronze_identities, run.deployment, "identities"), table, table.column_names)
    judged = canonical.withColumn("reasons", all_reasons(table, table.column_names))
    judged = pseudonyms.hidden(judged, run.deployment).transform(held)
    records = identities.in_normal_form(sound(judged).withColumnRenamed("user_id", tables.OF_SOURCE))
    # Each step is a leaf of the next one's plan: nested, they took four times as long.
    newest = newest_of(records, tables.OF_SOURCE).localCheckpoint()
    keys = identities.counted(identities.keys_of(records, newest)).localCheckpoint()
    linked = identities.links(keys, newest, max_shared, min_probability).localCheckpoint()
    groups = identities.groups(linked, max_ids).localCheckpoint()

    before = person_ids.snapshot_before(persons, run.run_date).localCheckpoint()
    known = person_ids.with_person_ids(newest, groups, before, run.run_date)
    known = known.join(identities.methods(linked), tables.OF_SOURCE, "left")
    known = known.join(identities.shared_keys(keys, max_shared), tables.OF_SOURCE, "left").localCheckpoint()
    linked_now = ~F.coalesce("too_large", F.lit(False)) & F.col("methods").isNotNull()
    rows = known.withColumns(
        {
            "run_date": F.lit(run.run_date),
            "method": F.when(linked_now, F.concat_ws(", ", "methods")).otherwise(
                F.when(F.col("too_large"), F.col("old_method"))
            ),
            "probability": F.when(linked_now, F.col("probability")),
        }
    )
    return {
        "ops.person_changes": person_ids.changes(known, before, run.run_date, max_shared),
        "silver.persons": rows.select(*tables.PERSONS.column_names),
        "silver.rejected_identities": rejected(
            judged.withColumn("run_date", F.lit(run.run_date)), tables.REJECTED_IDENTITIES.column_names
        ),
    }


if __name__ == "__main__":
    from jobs.runner import run_job

    run_job.main("link_persons")
