"""Identity: which user ids of the shop's systems are of one person, and how that has changed."""

from schemas.bronze import RUN_DATE
from schemas.contract import Column, Table, between, not_blank, not_shortened, one_of, row_check
from schemas.rejected_records import rejected

OF_SOURCE = "source_user_id"
GIVEN = (not_blank(200), not_shortened())


def _user(name: str, comment: str) -> Column:
    return Column(name, "STRING", comment, rules=GIVEN, personal=True)


def _detail(name: str, comment: str) -> Column:
    return Column(name, "STRING", comment, True, (not_blank(500),), personal=True)


# Not a table: the record of a source of identities. Who it is stays in bronze; silver.persons has ids alone.
IDENTITIES = Table(
    "silver.identities",
    "what one system of the shop knows of one of its user ids",
    (
        RUN_DATE,
        _user("user_id", "The id, as in silver.events"),
        _detail("email", "E-mail address"),
        _detail("phone", "Telephone number; the last nine digits count"),
        _detail("card_id", "Loyalty card, or another number of the person's own"),
        _detail("given_name", "Given name, or its initial"),
        _detail("family_name", "Family name"),
        _detail("birth_date", "Date of birth, in one order of year, month and day in all sources"),
        _detail("postcode", "Postcode"),
        _detail("street", "Street and house number, in one order in all sources"),
        Column("registered_on", "DATE", "Since when the system has the id", True),
    ),
    key=("user_id",),
)

PERSONS = Table(
    "silver.persons",
    "one user id of an identity record, and the user_id of the person whose it is, as known on run_date",
    (
        RUN_DATE,
        Column("source", "STRING", "The source of its newest record", rules=(not_blank(200),)),
        _user(OF_SOURCE, "The id, as in silver.events"),
        _user("user_id", "The person's id in features and gold: one of the person's ids, the one known longest"),
        Column("linked_on", "DATE", "Date of the first run, without a gap since, that knew the id"),
        Column(
            "method",
            "STRING",
            "What links it to the person's other ids: the keys that their records share; null for an only id",
            True,
            (not_blank(500),),
        ),
        Column("probability", "DOUBLE", "Probability that its best link is right", True, (between(0, 1),)),
        Column("record_count", "BIGINT", "Raw records of the id up to run_date", rules=(between(1, None),)),
    ),
    key=(OF_SOURCE,),
    extra_checks=(
        row_check("known_by_then", "linked_on <= run_date", "an id must not be known from a day after run_date on"),
    ),
)

REJECTED_IDENTITIES = rejected("identities", "one identity record, of all up to run_date, that was rejected")

PERSON_CHANGES = Table(
    "ops.person_changes",
    "a user_id of silver.persons whose user ids, or some of them, have another one since this run",
    (
        RUN_DATE,
        _user("from_user_id", "Whose they were"),
        _user("to_user_id", "Whose they are"),
        Column("kind", "STRING", "merge: all of them went; split: some did", rules=(one_of("merge", "split"),)),
        Column("user_ids", "BIGINT", "How many of the sources' user ids", rules=(between(1, None),)),
        Column("reason", "STRING", "Why, in a sentence that a person can read", rules=(not_blank(1_000),)),
    ),
    key=("from_user_id", "to_user_id"),
)

TABLES = (PERSONS, REJECTED_IDENTITIES, PERSON_CHANGES)
