"""Which user ids are of one person, what their id is from run to run, and where it is read."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.link_persons import link_persons
from jobs.transforms import identities, person_ids
from schemas import bronze, persons
from schemas.deployment import Deployment, load
from schemas.errors import ConfError
from tests.conftest import broken, run_of
from tests.support import tiny_shop

DAY = dt.date(2026, 3, 5)
NEXT = DAY + dt.timedelta(days=1)
CONF = """
[sources.identities]
files = "people/*.csv"
columns = ["id", "mail", "phone", "card", "given", "family", "born", "zip", "street", "since"]
[sources.identities.map]
user_id = "id"
email = "mail"
phone = "phone"
card_id = "card"
given_name = "given"
family_name = "family"
birth_date = "born"
postcode = "zip"
street = "street"
registered_on = "since"
"""
FIELDS = ("id", "mail", "phone", "card", "given", "family", "born", "zip", "street", "since")
ANNA = {"given": "Anna", "family": "Meier", "born": "1980-02-01", "zip": "10115", "street": "Torstr. 1"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The tiny shop with identities."""
    conf = tiny_shop.make(tmp_path_factory.mktemp("persons"), days=1)
    conf.write_text(conf.read_text().replace("[sources.items]", f"{CONF}\n[sources.items]", 1))
    return load(conf)


def landed(rows, *people: Mapping[str, str], day: dt.date = DAY):
    fields = [[person.get(name, "") for name in FIELDS] for person in people]
    place = {"run_date": day, "source_file": f"people_{day}.csv", "source": "identities", "problem": None}
    records = [place | {"source_row": n, "raw": ",".join(each), "fields": each} for n, each in enumerate(fields, 2)]
    return rows(bronze.RECORDS, *records)


def linked(rows, shop: Deployment, people, before=(), day: dt.date = DAY, checked: bool = False, **knobs):
    """The job's tables, as rows; `people`: a frame of landed records; `before`: rows of silver.persons."""
    known = rows(persons.PERSONS, *(row.asDict() for row in before))
    made = link_persons(people, known, run=run_of(day, shop), **knobs)
    for table in persons.TABLES if checked else ():
        assert broken(table, made[table.name]) == []
    return {name: frame.collect() for name, frame in made.items()}


def ids_of(made) -> dict[str, str]:
    return {row.source_user_id: row.user_id for row in made["silver.persons"]}


def changes_of(made) -> list[tuple[str, str, str, int]]:
    return sorted((r.from_user_id, r.to_user_id, r.kind, r.user_ids) for r in made["ops.person_changes"])


def test_ids_with_a_key_of_their_own_are_one_person_and_a_household_is_several(rows, shop):
    people = landed(
        rows,
        {"id": "web-1", "mail": "Anna@Shop.test "},
        {"id": "card-1", "mail": "anna@shop.test", **ANNA},
        {"id": "app-1", **ANNA, "family": "Maier", "born": "1980-02-10"},  # a typing error and two turned digits
        {"id": "card-2", **ANNA, "given": "Bert", "born": "1979-05-05", "phone": "030 123456"},  # her husband
        {"id": "card-3", **ANNA, "given": "Clara", "phone": "+49 30 123456"},  # her twin, with his phone
        {"id": "", "mail": "anna@shop.test"},
        {"id": "app-2"},
        {"id": "app-3"},  # with no more in common than empty values
        {"id": "app-4", "mail": "none"},
        {"id": "app-5", "mail": "none"},
    )
    made = linked(rows, shop, people, checked=True)
    assert ids_of(made) == {
        **dict.fromkeys(("web-1", "card-1", "app-1"), "app-1"),
        **{each: each for each in ("card-2", "card-3", "app-2", "app-3", "app-4", "app-5")},
    }
    methods = {row.source_user_id: (row.method, row.probability) for row in made["silver.persons"]}
    assert methods["web-1"][0] == "email"
    assert methods["web-1"][1] > 0.99
    assert methods["card-2"] == (None, None)
    assert [row.codes for row in made["silver.rejected_identities"]] == [["user_id_present"]]
    assert made["ops.person_changes"] == []


def test_the_id_of_a_person_is_the_one_registered_first_and_outlives_older_ones_that_come_later(rows, shop):
    first = {"id": "z", "mail": "a@b.test", "since": "2020-01-01"}
    made = linked(rows, shop, landed(rows, first, {"id": "y", "mail": "a@b.test", "since": "2021-01-01"}))
    assert set(ids_of(made).values()) == {"z"}
    late = landed(rows, {"id": "a", "mail": "a@b.test", "since": "2001-01-01"}, day=NEXT)
    people = landed(rows, first, {"id": "y", "mail": "a@b.test", "since": "2021-01-01"}).unionByName(late)
    after = linked(rows, shop, people, made["silver.persons"], NEXT)
    assert ids_of(after) == dict.fromkeys("azy", "z")
    assert {row.source_user_id: row.linked_on for row in after["silver.persons"]} == {"a": NEXT, "z": DAY, "y": DAY}


def test_a_phone_of_five_hundred_people_links_nobody_any_more_and_says_so(rows, shop):
    few = [{"id": f"u{n}", "phone": "0301234567", **ANNA} for n in range(2)]
    made = linked(rows, shop, landed(rows, *few))
    assert set(ids_of(made).values()) == {"u0"}
    people = landed(rows, *({"id": f"u{n}", "phone": "0301234567", **ANNA} for n in range(500)), day=NEXT)
    after = linked(rows, shop, people, made["silver.persons"], NEXT)
    assert ids_of(after) == {f"u{n}": f"u{n}" for n in range(500)}
    (split,) = after["ops.person_changes"]
    assert (split.from_user_id, split.to_user_id, split.kind) == ("u0", "u1", "split")
    assert split.reason.startswith("over 20 ids have the same ")
    assert "phone" in split.reason
    again = linked(rows, shop, people, [*made["silver.persons"], *after["silver.persons"]], NEXT)
    assert changes_of(again) == changes_of(after), "a run that is repeated says the same"
    assert ids_of(again) == ids_of(after)


def test_merges_splits_and_records_that_are_gone_are_rows_that_say_why(rows, shop):
    night = [{"id": "a", "mail": "a@b.test"}, {"id": "b", "card": "77"}, {"id": "c", "card": "77"}]
    first = linked(rows, shop, landed(rows, *night))
    assert ids_of(first) == {"a": "a", "b": "b", "c": "b"}
    joined = landed(rows, *night, {"id": "a", "card": "7-7"})
    second = linked(rows, shop, joined, first["silver.persons"], NEXT)
    assert changes_of(second) == [("b", "a", "merge", 2)]
    assert second["ops.person_changes"][0].reason == "linked by card_id"
    last = NEXT + dt.timedelta(days=1)
    third = linked(rows, shop, landed(rows, *night[:2]), second["silver.persons"], last)
    assert changes_of(third) == [("a", "b", "split", 1), ("a", "c", "split", 1)]
    reasons = {row.to_user_id: row.reason for row in third["ops.person_changes"]}
    assert reasons == {
        "b": "no records link it any more; before: card_id",
        "c": "there is no record of it any more",
    }


def test_a_group_that_is_too_large_changes_nothing(rows, shop):
    pair = [{"id": f"u{n}", "mail": "a@b.test", "card": f"{n:05d}"} for n in range(2)]
    made = linked(rows, shop, landed(rows, *pair))
    chain = [{"id": f"v{n}", "card": f"{n:05d}"} for n in range(1, 5)]
    chain += [{"id": f"v{n}", "card": f"{n + 1:05d}"} for n in range(1, 5)]
    after = linked(rows, shop, landed(rows, *pair, *chain, day=NEXT), made["silver.persons"], NEXT, max_ids=5)
    assert ids_of(after) == {"u0": "u0", "u1": "u0", **{f"v{n}": f"v{n}" for n in range(1, 5)}}
    assert {row.source_user_id: row.method for row in after["silver.persons"]}["u1"] == "email"
    assert after["ops.person_changes"] == []


@pytest.mark.parametrize("knobs", [{"min_probability": 1.0}, {"max_shared": 1}, {"max_ids": 0}])
def test_settings_without_sense_are_refused(rows, shop, knobs):
    with pytest.raises(ConfError, match=r"\[jobs.link_persons\] min_probability must be"):
        linked(rows, shop, landed(rows, {"id": "a"}), **knobs)


def connected(edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Oracle: id -> the ids that it is connected with."""
    of = defaultdict(set)
    for one, other in edges:
        both = (of[one] or {one}) | (of[other] or {other})
        for each in both:
            of[each] = both
    return of


@settings(max_examples=4, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=70))
def test_groups_are_the_connected_components(spark, drawn):
    edges = {(f"e{min(pair):02d}", f"e{max(pair):02d}") for pair in drawn if pair[0] != pair[1]}
    edges |= {(f"chain{n:02d}", f"chain{n + 1:02d}") for n in range(40)}
    frame = spark.createDataFrame([(*edge, ["email"], 1.0) for edge in edges], identities.PAIR)
    found = {row[0]: (row.label, row.too_large) for row in identities.groups(frame, 10).collect()}
    assert found == {each: (min(group), len(group) > 10) for each, group in connected(edges).items()}


SHOP = st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=3, max_size=3)  # run -> id -> its group


@settings(max_examples=4, deadline=None)
@given(st.lists(SHOP, min_size=30, max_size=30), st.randoms())
def test_an_id_never_goes_to_another_person_in_any_order_of_arrivals(spark, shops, random):
    """Group 0: not arrived yet. Thirty shops at once, for a query costs the same."""
    before: dict[str, tuple[str, dt.date]] = {}
    for number in range(3):
        day = DAY + dt.timedelta(days=number)
        group = {
            f"{at}-{user}": f"{at}-{label}"
            for at, runs in enumerate(shops)
            for user, label in enumerate(runs[number])
            if label or f"{at}-{user}" in before
        }
        arrived = sorted(group)
        random.shuffle(arrived)
        newest = spark.createDataFrame([(each, None) for each in arrived], "source_user_id STRING, registered_on DATE")
        labels = spark.createDataFrame(
            [(each, group[each], False) for each in reversed(arrived)],
            "source_user_id STRING, label STRING, too_large BOOLEAN",
        )
        snapshot = spark.createDataFrame(
            [(each, *row, None) for each, row in before.items()],
            "source_user_id STRING, before STRING, linked_on DATE, old_method STRING",
        )
        known = person_ids.with_person_ids(newest, labels, snapshot, day).collect()
        now = {row.source_user_id: (row.user_id, row.linked_on) for row in known}
        members = defaultdict(set)
        for each, label in group.items():
            members[label].add(each)
        for each, (user_id, linked_on) in now.items():
            own = members[group[each]]
            assert {now[other][0] for other in own} == {user_id}, "a person has one id"
            assert user_id in own, "which is one of their own"
            assert linked_on == (before[each][1] if each in before else day)
            had = {other for other in own if other in before and before[other][0] == other}
            if had:
                assert user_id == min(had, key=lambda other: (now[other][1], other)), "the one known longest"
        before = now
