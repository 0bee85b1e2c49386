"""A source whose raw files have stopped coming is noticed, whatever the other sources do."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs.runner import silence
from schemas.deployment import load
from schemas.errors import ConfError
from tests.support import tiny_shop

D0 = dt.date(2026, 3, 1)


def day(number: int) -> dt.date:
    return D0 + dt.timedelta(days=number)


def silent(deployment, till: list[int], catalogue: list[int], night: int):
    seen = [("events", day(number)) for number in till] + [("items", day(number)) for number in catalogue]
    return silence.silent_days(deployment, seen, day(night))


def test_a_dead_till_is_a_warning_the_first_night_and_refused_the_second(deployment):
    daily = list(range(9))
    assert silent(deployment, daily, daily, 8) == {}
    first = silent(deployment, daily[:8], daily, 8)
    assert first == {"events": (1, day(7))}
    silence.refuse_silent(deployment, first, day(8))
    warned = silence.warning(first)
    assert (warned.check.severity, warned.passed) == ("warning", False)
    assert "[sources.events]" in warned.check.reason
    second = silent(deployment, daily[:7], daily, 8)
    with pytest.raises(ConfError, match=r"2 days after the newest raw file of \[sources.events\] \(2026-03-07\) in"):
        silence.refuse_silent(deployment, second, day(8))


def test_a_file_of_a_date_far_ahead_does_not_switch_the_alarm_off(deployment):
    assert silent(deployment, [0, 1, 400], list(range(9)), 5) == {"events": (4, day(1))}


def test_a_catalogue_may_come_once_and_a_source_may_not_have_begun(deployment):
    assert silent(deployment, [40], [0], 40) == {}
    assert silent(deployment, [50], [0], 40) == {}


def test_a_source_may_say_how_long_it_may_be_silent(tmp_path):
    conf = tiny_shop.make(tmp_path, days=1)
    text = conf.read_text().replace("max_rejected_share = 0.5", "max_silent_days = 14")
    conf.write_text(text.replace('files = "catalogue/*.csv"', 'files = "catalogue/*.csv"\nmax_silent_days = 0'))
    shop = load(conf)
    silence.refuse_silent(shop, silent(shop, [0], [14], 14), day(14))
    for till, catalogue, said in (([0], [15], "sources.events"), ([15], [14], "sources.items")):
        with pytest.raises(ConfError, match=said):
            silence.refuse_silent(shop, silent(shop, till, catalogue, 15), day(15))


def test_the_old_key_is_refused_with_the_new_one(tmp_path):
    conf = tiny_shop.make(tmp_path, days=1)
    conf.write_text(conf.read_text().replace("[sources.events]", "max_silent_days = 14\n\n[sources.events]", 1))
    with pytest.raises(ConfError, match=r"tiny_shop.toml: max_silent_days: this key has been replaced by max_silent_d"):
        load(conf)
