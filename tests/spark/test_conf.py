"""A deployment that does not fit is refused before anything is read, and the message names file and key."""

from __future__ import annotations

import pytest

from jobs.runner import run_job
from jobs.runner.settings import check_settings, function_of, settings
from jobs.transforms import mapping
from schemas.deployment import RENAMED, load
from schemas.errors import ConfError
from tests.support import tiny_shop
from tests.support.tiny_shop import REPO


@pytest.fixture
def conf(tmp_path):
    return tiny_shop.make(tmp_path, days=1)


def change(conf, old, new):
    text = conf.read_text()
    assert old in text
    conf.write_text(text.replace(old, new))
    return conf


@pytest.mark.parametrize("path", sorted((REPO / "conf").glob("*.toml")), ids=lambda path: path.name)
def test_the_deployments_that_ship_are_sound(path, spark):
    deployment = load(path)
    check_settings(deployment)
    mapping.check_mappings(spark, deployment)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('users = "customers"', 'colour = "red"', "colour: unknown key"),
        ('lake = "', 'lakes = "', "lake: missing key"),
        ('users = "customers"', 'file = "x"', "file: unknown key"),
        ('users = "customers"', "users = 3", "users: Input should be a valid string, not 3"),
        ('files = "sales/*"', "", "sources.events.files: missing key"),
        ('occurred_at = "at"', "", r"\[sources.events.map\] occurred_at: missing, and silver.events requires it"),
        (
            'occurred_at = "at"',
            'happened = "at"',
            r"\[sources.events.map\] happened: no such column; silver.events has",
        ),
        ('files = "sales/*"', 'files = "sales/*"\nday = "no group"', "sources.events.day: must have exactly one group"),
        ('files = "sales/*"', 'files = "sales/*"\nencoding = "klingon"', "encoding: unknown encoding 'klingon'"),
        ("[sources.items]", "[sources.oranges]", "oranges"),
        ('users = "customers"', 'timezone = "New York"', "timezone: 'New York' is no IANA .* mean America/New_York"),
        ('users = "customers"', 'time_zone = "UTC"', "time_zone: unknown key"),
        ('users = "customers"', 'day_ends_at = "4:00"', "day_ends_at: must be a time such as \"04:00\", not '4:00'"),
        ('users = "customers"', "day_ends_at = 04:00:00", "day_ends_at: Input should be a valid string"),
        (
            'files = "sales/*"',
            'files = "sales/*"\nday_offset = "-1"',
            "sources.events.day_offset: Input should be a val",
        ),
        ('files = "sales/*"', 'files = "sales/*"\nday_offset = -999', "sources.events.day_offset: Input should be gr"),
        ('name = "tiny_shop"', "name = ", "not TOML"),
        ('base = "base"', "base = 3", "encoder.base: Input should be a valid string, not 3"),
        ('base = "base"', 'bass = "base"', "encoder.bass: unknown key"),
        ("[encoder]", "[gate]\napprove = true\n[encoder]", "gate.approve: unknown key"),
        ("[encoder]", "[segments]\nactve = 0.5\n[encoder]", "segments.actve: unknown key"),
        ("[encoder]", "[segments]\nlapsed = 0.7\n[encoder]", r"segments: lapsed \(0.7\) must be below active \(0.6\)"),
        ("[encoder]", "[segments]\ntop_name = 'new'\n[encoder]", "segments: two segments have the same name: new, new"),
        ("[encoder]", "[gate]\nmargin = -0.1\n[encoder]", "gate.margin: Input should be greater than or equal to 0"),
        ("[encoder]", "[lists]\nin_stok = true\n[encoder]", "lists.in_stok: unknown key"),
        (
            "[encoder]",
            "[lists]\nin_stock = false\n[encoder]",
            r"\[lists\] in_stock: there must be \[sources.stock\] too",
        ),
        (
            "[encoder]",
            "[variants]\nper_list = 0\n[encoder]",
            "variants.per_list: Input should be greater than or equal",
        ),
        ("[encoder]", "[variants]\nproducts = 'brand'\n[encoder]", "variants.products: unknown key"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_key(conf, old, new, message):
    with pytest.raises(ConfError, match=message) as caught:
        load(change(conf, old, new))
    assert "tiny_shop.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfError, match=r"nowhere\.toml: no such file"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "top_k = 8\n\n[jobs.profile",
            'top_k = "8"\n\n[jobs.profile',
            r"\[jobs.rank_recommendations\] top_k: must be int",
        ),
        ("trees = 5", "tree = 5", r"\[jobs.train_model\] tree: unknown key; train_model has max_users"),
        ("trees = 5", 'encoder_method = "qlora"', "encoder_method: must be one of full, lora, not 'qlora'"),
        ("trees = 5", 'user_encoder = "gru"', "user_encoder: must be one of mean, bert, not 'gru'"),
        (
            "trees = 5",
            "served_layers = 3",
            r"train_model\] served_layers: this key has been replaced by served_encoder",
        ),
        ("trees = 5", 'served_format = "onnx-int8"', "served_format: this key has been replaced by served_encoder"),
        ("trees = 5", "distil_steps = 9", "distil_steps: this key has been replaced by served_encoder"),
        ("trees = 5", "refit_steps = 9", "refit_steps: this key has been replaced by encoder_seconds"),
        ("trees = 5", "newest_steps = 9", "newest_steps: this key has been replaced by newest_encoder"),
        ("trees = 5", "evaluate_every = 9", "evaluate_every: this key has been replaced by encoder_seconds"),
        ("trees = 5", 'encoder_seconds = "2m"', "encoder_seconds: must be int, not '2m'"),
        ("[jobs.train_model]", "[jobs.train]", r"\[jobs.train\]: no such job; there are ingest_logs"),
    ],
)
def test_settings_of_jobs_are_checked_against_their_signatures(conf, old, new, message):
    with pytest.raises(ConfError, match=message):
        check_settings(load(change(conf, old, new)))


def test_what_has_replaced_an_old_key_exists():
    for (job, old), new in RENAMED.items():
        knobs = run_job.knobs_of(run_job.function_of(job))
        assert old not in knobs
        assert new.split()[0] in knobs


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('item_id = "sku"\nlocation', 'item_id = "skew"\nlocation', r"\[sources.events.map\] item_id = 'skew': .*skew"),
        ('occurred_at = "at"', 'occurred_at = "at (("', r"occurred_at = 'at \(\(': .*SYNTAX"),
        ('occurred_at = "at"', 'occurred_at = "array(at)"', r"occurred_at = 'array\(at\)': .*DATATYPE_MISMATCH"),
        ("log.amount < 0", "log.price < 0", r"\[sources.events.reject\] 'amount is negative' = .*price"),
        ("log.kind = 'service'", "log.kind", r"\[sources.items.reject\] 'no product'"),
        ("top_k = 8", "exclude = 'colour = 1'", r"\[jobs.rank_recommendations\] exclude = 'colour = 1': .*colour"),
        ("[encoder]", "[variants]\nproduct = 'colour'\n[encoder]", r"\[variants\] product = 'colour': .*colour"),
        ("top_k = 8", "boost = 'array(1)'", r"\[jobs.rank_recommendations\] boost = 'array\(1\)': .*CAST"),
    ],
)
def test_sql_that_does_not_fit_is_refused_and_names_the_key(conf, spark, old, new, message):
    with pytest.raises(ConfError, match=r"tiny_shop\.toml: .*" + message):
        mapping.check_mappings(spark, load(change(conf, old, new)))


def test_flag_over_conf_over_default(conf):
    deployment = load(conf)
    job = run_job.JOBS["rank_recommendations"]
    function = function_of(job.name)
    assert settings(job, function, deployment, {}) == {"top_k": 8}
    assert settings(job, function, deployment, {"top_k": 3, "active_days": None}) == {"top_k": 3}


def test_paths_are_relative_to_the_file_and_landing_can_be_replaced(conf, tmp_path):
    conf = change(conf, f'lake = "{tmp_path}/lake"', 'lake = "../elsewhere"')
    assert load(conf).lake == str(tmp_path.parent / "elsewhere")
    assert load(conf, landing=str(tmp_path / "raw")).landing == str(tmp_path / "raw")
    assert load(change(conf, "../elsewhere", "s3a://bucket/lake")).lake == "s3a://bucket/lake"
