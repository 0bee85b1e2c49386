"""What a bench's row says, from clocks that are known; that a broken result stops it; one tiny run of each bench."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import encode, half_weights, harness, int8_choices, smaller, texts, through_spark, topk
from tests.unit.test_encoder import write_tiny
from udfs.encoder import model_reader
from udfs.encoder.base_model import base_folder

WORDS = ("milk", "beer", "bread", "soap", "cat food", "wine", "eggs")
ITEMS = [" ".join(words) for count in (1, 2) for words in itertools.product(WORDS, repeat=count)]


class Clock:
    """Seconds that pass only when something is run."""

    def __init__(self) -> None:
        self.now, self.order = 0.0, ""

    def __call__(self) -> float:
        return self.now

    def spend(self, name: str, *seconds: float):
        turn = iter(seconds)

        def run() -> None:
            self.now += next(turn)
            self.order += name

        return run


def test_a_ratio_is_taken_within_a_round_and_the_middle_one_counts() -> None:
    clock = Clock()
    # The machine is half as fast in the second round, and the peer is unlucky in the third.
    timings = harness.alternate(
        {"ours": (clock.spend("o", 1, 2, 1), 100), "peer": (clock.spend("p", 2, 4, 8), 50)}, 3, clock
    )
    assert clock.order == "oppoop", "rounds start with different contenders"
    row = harness.compare("m", "d", timings["ours"], timings["peer"], "texts/s", target=4.5)
    assert (row.value, row.peer_value) == (100, 12.5)
    assert (row.ratio, row.spread) == (4, 12)
    assert row.met is False


def test_seconds_are_lower_where_the_ratio_is_higher() -> None:
    row = harness.compare("m", "d", harness.Timing((2.0,)), harness.Timing((3.0,)), "s", target=1.5)
    assert (row.value, row.peer_value, row.ratio, row.spread, row.met) == (2, 3, 1.5, 0, True)
    assert harness.compare("m", "d", harness.Timing((2.0,)), harness.Timing((3.0,)), "s").met is None


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1; it is 0"):
        harness.alternate({}, 0)


@pytest.mark.parametrize("found", [0.9, float("nan")])
def test_a_gate_raises_with_both_figures(found: float) -> None:
    assert harness.gate("overlap", 1.0, 0.99) == "overlap 1.00000, at least 0.99 expected"
    with pytest.raises(harness.GateError, match=r"overlap .*, at least 0.99 expected"):
        harness.gate("overlap", found, 0.99)


def test_rows_are_appended_to_one_json_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = harness.compare("encode", "cpu, 1 thread", harness.Timing((2.0,)), harness.Timing((3.0,)), "s", 2.0)
    for _ in range(2):
        harness.report([row], tmp_path / "results.json")
    assert "encode" in capsys.readouterr().out
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [found["ratio"] for found in rows] == [1.5, 1.5]
    assert set(rows[0]) == {"measure", "device", "value", "peer_value", "unit", "ratio", "spread", "target", "met"}


def test_operations_are_counted_from_tokens_and_shape() -> None:
    class Config:
        hidden_size, intermediate_size, num_hidden_layers = 2, 3, 1

    # Query, key, value, output: 4 x 2 x 2; up and down: 2 x 2 x 3; a multiplication and an addition each. Attention:
    # 3 x 3 scores and 3 x 3 weights, times 2 wide.
    assert encode.operations([3], Config) == 3 * 2 * (16 + 12) + 2 * 2 * 9 * 2


def test_tiny_encode_has_a_row_for_each_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(tmp_path)
    monkeypatch.setitem(encode.MIN_OVERLAP, "items", 0.9)  # a random model, few texts, the precision of any chip
    rows = encode.measure("items", ITEMS, tmp_path, "cpu", naive_texts=20, repeats=1, with_tuned=False)
    assert [row.measure.split("(")[0].strip() for row in rows[:2]] == [
        "encode items vs plain bucketed loop",
        "encode items vs naive loop",
    ]
    assert rows[-1].unit == "TFLOP/s"
    assert min(row.ratio for row in rows) > 0


def test_tiny_smaller_has_a_row_for_each_encoder_but_the_full_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    write_tiny(full)
    folders, told = smaller.smaller(full, ITEMS[9:], 1, 2, 7, tmp_path)
    assert told.texts == len(ITEMS) - 9
    rows = smaller.measure(folders, ITEMS, 9, None, repeats=1)
    assert [row.measure for row in rows] == [
        f"smaller: {name} vs full" for name in ("1 layers", "full, 8-bit", "1 layers, 8-bit")
    ]
    assert "100.0%" in capsys.readouterr().out  # the full one's neighbours are its own


def test_tiny_ways_to_8_bits_have_a_row_each(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    write_tiny(full)
    rows = int8_choices.measure(full, ITEMS, tmp_path, repeats=1)
    assert rows[0].measure == "8 bits: 8 bits, a scale per token vs float32, torch"
    assert min(row.ratio for row in rows) > 0


def test_wrong_vectors_stop_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny(tmp_path)
    right = encode.Encoder.encode
    monkeypatch.setattr(encode.Encoder, "encode", lambda *given, **named: np.roll(right(*given, **named), 1, axis=0))
    with pytest.raises(harness.GateError, match="ours: cosine to float32"):
        encode.measure("items", ITEMS, tmp_path, "cpu", naive_texts=20, repeats=1, with_tuned=False)


def test_padding_is_counted_and_changes_no_vector(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    model, tokenizer, _ = model_reader.read_model(tmp_path)
    wide = encode.Padded(model, tokenizer, rows=4, in_order_of_length=False, pad_to=16)
    narrow = encode.Padded(model, tokenizer, rows=4)
    np.testing.assert_allclose(wide(ITEMS), narrow(ITEMS), atol=2e-6)
    assert wide.read_tokens == 16 * len(ITEMS) > narrow.read_tokens


def test_tiny_top_k_has_a_row_for_each_peer() -> None:
    users, items = topk.directions(40, 1), topk.directions(500, 2)
    rows = topk.measure(users, items, k=10, sample=20, threads=1, repeats=1)
    assert [row.measure for row in rows] == [
        "top-10, 40 x 500 x 384 vs NumPy argpartition, float32",
        "top-10, 40 x 500 x 384 vs implicit's topk, float32",
    ]


def test_a_tiny_search_on_a_device_has_a_row_against_torch() -> None:
    users, items = topk.directions(40, 1), topk.directions(500, 2)
    (row,) = topk.measure_device(users, items, k=10, sample=20, device="cpu", repeats=1)
    assert row.measure == "top-10, 40 x 500 x 384, resident vs torch's product and topk, float16"
    assert row.ratio > 0


def test_a_list_out_of_order_stops_the_bench() -> None:
    users, items = topk.directions(5, 1), topk.directions(500, 2)
    right = topk.oracle(users, items, 10)
    swapped = right.copy()
    swapped[0, :2] = right[0, 1::-1]
    with pytest.raises(harness.GateError, match="ours: places"):
        topk.check(topk.OURS, swapped, right)
    assert "1.00000" in topk.check(topk.PLAIN, swapped, right)


def test_texts_of_a_file_are_different_sorted_and_joined_into_longer_ones(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("milk\nbeer\n\nmilk\n")
    assert texts.real_texts(file=str(tmp_path / "texts.txt")) == (["beer", "milk"], "a file")
    longer = texts.joined(["beer", "milk"], 50, seed=1)
    assert {text.count(",") + 1 for text in longer} == set(range(2, texts.MOST_JOINED + 1))


def test_texts_of_the_package_are_worded_as_the_conf_does() -> None:
    assert "fluid milk white only, fluid milk products, 1 ga, private" in texts.package_texts()


def test_weights_of_half_the_size_say_the_same(tmp_path: Path) -> None:
    half_weights.write(tmp_path / "half")
    assert sum(path.stat().st_size for path in (tmp_path / "half").iterdir()) < 64 * 2**20
    one, other = (encode.Encoder(*model_reader.read_model(folder)) for folder in (tmp_path / "half", base_folder()))
    assert (one.encode(ITEMS, 32) * other.encode(ITEMS, 32)).sum(axis=1).min() > 0.9998


def test_texts_of_a_large_shop_are_different_and_real_ones_first() -> None:
    assert through_spark.enlarged(["milk", "tea", "rye"], 2, seed=1) == through_spark.enlarged(
        ["milk", "tea", "rye"], 2, 1
    )
    more = through_spark.enlarged(["milk", "tea", "rye"], 9, seed=1)
    assert (len(set(more)), set(more[:3])) == (9, {"milk", "tea", "rye"})
    assert all(", " in text for text in more[3:])


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("milk\nbeer\n")
    with pytest.raises(SystemExit, match="2 different texts of a file: the overlap of fewer than 500"):
        encode.main(["--file", str(tmp_path / "texts.txt"), "--threads", str(torch.get_num_threads())])
