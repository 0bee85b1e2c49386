"""Erasure of a user from a lake: nothing of it has the id, and it is as if the user had never been there."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.commands import erase, prove_erasure
from jobs.flow import INTAKE
from jobs.runner import erased_list, erasure, run_job
from jobs.runner.lake import Lake
from schemas import TABLES, gold
from schemas.deployment import load
from schemas.errors import BusyError, ConfError, DataError
from tests.conftest import Rows
from tests.support import tiny_shop
from tests.support.tiny_conf import PLANS_CONF
from udfs import keyed_hash

ANNA = "0f9c2b7e55d1483a9be6c0d4a1f27e38"
DAY, EARLIER = 0, -4
KEY = "4b1f" * 16
# Columns that say where a record came from, or which run wrote a row.
ORIGIN = {"source_file", "source_row", "event_id", "fingerprint", "record_count", "run_id"}
CONF = """
[privacy.erasure]
erased = "../privacy/{name}.jsonl"
key_file = "../privacy/key"
key_id = "k1"
"""


def lines(user: str) -> dict[int, list[str]]:
    """Till lines of two days: sound ones, one that is rejected and one that cannot be read."""
    sound = [f"x-{place},{user},S0{place},2,3.0,T0,{{day}} 10:0{place}:00" for place in range(1, 4)]
    dirty = [f"y-1,{user},S01,many,3.0,T0,{{day}} 11:00:00", f"z-1,{user},S01,1,1.5,T0,{{day}} 12:00:00,one,too,many"]
    return {number: [line.format(day=tiny_shop.day(number)) for line in [*sound, *dirty]] for number in (EARLIER, DAY)}


def make(root: Path, *, had: bool) -> Path:
    """A tiny shop of one day and what was before, with an advertising log and customers, which had the user or not."""
    conf = tiny_shop.make(root, days=1, dirt=lines(ANNA) if had else None)
    shown = [f"C4-{user}-seen,impression,{user},C4,{tiny_shop.day(-28)} 09:00:00" for user in ("U01", "U02")]
    more = [f"C4-a-seen,impression,{ANNA},C4,{tiny_shop.day(-28)} 09:00:00"] if had else []
    people = ["U01,20,north", "U02,30,", *([f"{ANNA},44,south"] if had else [])]
    for name, header, rows in (
        (f"ads/ads_{tiny_shop.day(-12)}.csv", "id,what,customer,campaign,at", [*shown, *more]),
        (f"customers/customers_{tiny_shop.day(EARLIER)}.csv", "customer,age,town", people),
    ):
        file = root / "landing" / name
        file.parent.mkdir()
        file.write_text("\n".join([header, *rows]) + "\n")
    key = root.parent / "privacy" / "key"
    key.parent.mkdir(exist_ok=True)
    key.write_text(KEY)
    kinds = ("[sources.ad_events", "[sources.users")
    sections = [part for part in PLANS_CONF.split("\n\n") if part.strip().startswith(kinds)]
    conf.write_text("\n\n".join([conf.read_text(), *sections]) + CONF.format(name=root.name))
    return conf


def take_in(conf: Path, spark: SparkSession, **how: Any) -> Lake:
    lake = Lake(spark, load(conf))
    for job in INTAKE:
        run_job.run(job.name, lake, tiny_shop.day(DAY), **how)
    return lake


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> Path:
    """A folder with two shops whose logs were taken in: `had` the user, and `never` did."""
    root = tmp_path_factory.mktemp("erasure")
    for name in ("had", "never"):
        take_in(make(root / name, had=name == "had"), spark)
    return root


@pytest.fixture
def conf(shops: Path, tmp_path: Path) -> Path:
    """A copy of the shop that had the user."""
    shutil.copytree(shops / "privacy", tmp_path / "privacy")
    return tiny_shop.copied(shops / "had", tmp_path / "had")


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    file = tmp_path / "ids.txt"
    file.write_text(f"{ANNA}\n")
    return file


@pytest.fixture
def act(conf: Path, ids: Path) -> Callable[..., int]:
    """Erase or prove, as a user does; the exit code."""
    return lambda command, *flags: command.main(["--ids", str(ids), "--conf", str(conf), *flags])


def score(lake: Lake, rows: Rows) -> None:
    """What a night leaves of the user: candidates, lists of two dates, and a model with a folder and checkpoints."""
    dates = [tiny_shop.day(-1), tiny_shop.day(DAY)]
    users = [{"user_id": user, "run_date": date} for user in (ANNA, "U01", "U02") for date in dates]
    lake.replace("features.candidates", rows(TABLES["features.candidates"], *users), dates, {})
    for each in dates:
        lists = rows(gold.RECOMMENDATIONS, *(user | {"rank": 1} for user in users if user["run_date"] == each))
        lake.replace("gold.recommendations", lists, [each], {"run_id": "r"})
    rest = {"publication_id": "p", "published_at": dt.datetime(2024, 3, 1, tzinfo=dt.UTC), "current": True}
    named = {"table_name": "gold.recommendations", "version": 2, "row_count": 3, "model_version": None}
    lake.append("ops.publications", [{"run_date": dates[1], **rest, **named, "rows_of": dates[1]}], {})
    root = Path(lake.deployment.lake)
    for version, day in (("old", -200), ("seen", DAY)):
        (root / "models" / version).mkdir(parents=True)
        (root / "models" / version / "ranker.json").write_text("{}")
        text = {"kind": "recommend", "folder": f"models/{version}", "base_sha256": "", "weights_sha256": "w"}
        text |= {"ranker": "{}", "code_version": "c", "model_version": version}
        days = {name: tiny_shop.day(day) for name in ("run_date", "trained_from", "cut_date")}
        model = {**text, **days, "example_count": 1, "metrics": {}, "promoted": True, "held": False}
        lake.append("ops.models", [model], {})
    (root / "checkpoints" / "killed").mkdir(parents=True)
    (root / "checkpoints" / "killed" / "users.txt").write_text(ANNA)
    (root / "people").mkdir()
    (root / "people" / "2024-03-01.html").write_text(f"<td>{ANNA}")
    (root / "set_aside" / "torn").mkdir(parents=True)
    (root / "set_aside" / "torn" / "0.json").write_text(f'{{"stats": "{ANNA}"}}')


def silver(conf: Path) -> dict[str, list[str]]:
    """The rows of silver, without where they came from."""
    found = {}
    for name in sorted(path.name for path in (conf.parent / "lake" / "silver").iterdir()):
        if name.startswith("rejected_"):
            continue
        table = DeltaTable(str(conf.parent / "lake" / "silver" / name)).to_pyarrow_table()
        columns = [column for column in table.column_names if column not in ORIGIN]
        found[name] = sorted(map(repr, table.select(columns).to_pylist()))
    return found


def test_an_erased_user_was_never_there(conf, ids, act, shops, spark, rows, capsys):
    lake = Lake(spark, load(conf))
    score(lake, rows)
    assert act(prove_erasure) == 3
    assert act(erase) == 0
    assert act(prove_erasure) == 0, capsys.readouterr()

    recorded = Lake(spark, load(conf)).rows("ops.erasures")
    assert [row["users"] for row in recorded] == [1]
    assert recorded[0]["landing_lines"] == 12
    removed = dict(recorded[0]["rows_removed"])
    assert removed["bronze.events"] == 10
    assert removed["bronze.records"] == 2
    assert (removed["silver.events"], removed["silver.rejected_events"]) == (6, 4)
    assert (removed["gold.recommendations"], removed["features.candidates"]) == (2, 2)
    assert (removed["silver.users"], removed["silver.ad_events"]) == (1, 1)
    assert recorded[0]["models_retired"] == ["seen"]
    models = {row["model_version"]: row["promoted"] for row in Lake(spark, load(conf)).rows("ops.models")}
    assert models == {"old": True, "seen": False}
    assert [path.name for path in (conf.parent / "lake" / "models").iterdir()] == ["old"]
    listed = Path(f"{ids}.lines").read_text().splitlines()
    assert len(listed) == 12
    assert ANNA not in Path(f"{ids}.lines").read_text()
    assert ANNA not in (conf.parent.parent / "privacy" / "had.jsonl").read_text()

    # Readers: the newest version has the other users' rows, and the current publication names it; older ones are gone.
    after = Lake(spark, load(conf))
    (published,) = after.rows("ops.publications")
    assert published["row_count"] == 2
    shown = after.at_version("gold.recommendations", published["version"], published["run_date"])
    assert {row["user_id"] for row in shown.collect()} == {"U01", "U02"}
    with pytest.raises(DataError, match=r"version 2, published for .*, can no longer be read"):
        after.at_version("gold.recommendations", 2, published["run_date"])

    # Run again, also from the raw files, which still have the lines: as if the user had never been there.
    never = silver(shops / "never" / "tiny_shop.toml")
    take_in(conf, spark)
    assert silver(conf) == never
    take_in(conf, spark, since=tiny_shop.day(EARLIER))
    assert silver(conf) == never
    assert act(prove_erasure) == 0
    assert act(erase) == 0
    assert "0 rows" in capsys.readouterr().out


def test_an_erasure_that_was_killed_ends_when_it_is_run_again(conf, act, shops, spark, rows, monkeypatch):
    score(Lake(spark, load(conf)), rows)
    for step in ("_retire_models", "_count_anew", "without_history"):
        own = getattr(erasure, step)

        def killed(*given: Any, own: Callable[..., Any] = own) -> Any:
            own(*given)
            raise KeyboardInterrupt

        monkeypatch.setattr(erasure, step, killed)
        with pytest.raises(KeyboardInterrupt):
            act(erase)
        monkeypatch.setattr(erasure, step, own)
    assert act(erase) == 0
    assert act(prove_erasure) == 0
    assert {row["model_version"] for row in Lake(spark, load(conf)).rows("ops.models") if row["promoted"]} == {"old"}
    take_in(conf, spark)
    assert silver(conf) == silver(shops / "never" / "tiny_shop.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda conf: conf.write_text(conf.read_text().replace("[privacy.erasure]", "[unknown]")), "unknown"),
        (lambda conf: (conf.parent.parent / "privacy" / "key").unlink(), "the key cannot be read"),
        (lambda conf: (conf.parent.parent / "privacy" / "key").write_text("short"), "5 characters and needs 32"),
        (lambda conf: conf.write_text(conf.read_text().replace('"k1"', '"k2"')), "was written with 'k1'"),
        (lambda conf: (conf.parent.parent / "privacy" / "key").write_text("9" * 64), "is not the one"),
    ],
    ids=["none", "missing", "short", "key_id", "another"],
)
def test_a_key_that_does_not_fit_is_refused_before_anything_is_read(conf, act, change, message, capsys):
    erased_list.add(load(conf), ["someone"], dt.date(2024, 1, 1))
    keyed_hash.read_once.cache_clear()
    change(conf)
    assert act(erase) == 2
    assert message in capsys.readouterr().err
    keyed_hash.read_once.cache_clear()


def test_no_erasure_while_a_run_is_active(conf, spark, rows):
    lake = Lake(spark, load(conf))
    now = dt.datetime.now(dt.UTC)
    run = dict(lake.rows("ops.runs")[0]) | {"run_id": "active", "status": "running", "started_at": now, "job": "j"}
    lake.append("ops.runs", [run | {"error": None}], {})
    with pytest.raises(BusyError, match="--killed active"):
        erasure.refuse_active_runs(lake, now)
    erasure.refuse_active_runs(lake, now, ["active"])
    erasure.refuse_active_runs(lake, now + dt.timedelta(days=2))


def test_an_id_of_a_tenth_of_the_lines_may_be_many_users(deployment, tmp_path, spark, rows):
    lake, day = Lake(spark, deployment.model_copy(update={"lake": str(tmp_path / "lake")})), tiny_shop.day(DAY)
    guest = [{"user_id": "guest", "event_id": f"g{number}", "run_date": day} for number in range(150)]
    others = [{"user_id": f"u{number % 101}", "event_id": f"e{number}", "run_date": day} for number in range(1_200)]
    lake.replace("silver.events", rows(TABLES["silver.events"], *guest, *others), [day], {})
    with pytest.raises(ConfError, match="--force"):
        erasure.refuse_large(lake, spark.createDataFrame([("guest",)], "user_id STRING"))
    erasure.refuse_large(lake, spark.createDataFrame([("u1",)], "user_id STRING"))


def test_every_table_with_a_personal_column_is_one_that_erasure_knows():
    known = {*erasure.USER_TABLES, *erasure.REJECTED, *erasure.BRONZE, "features.queries"}
    assert {table.name for table in erasure.PERSONAL} == known
