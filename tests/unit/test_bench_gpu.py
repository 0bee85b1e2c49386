"""bench.gpu: all of it runs on a CPU but the kernels; what is wrong or takes too long ends it with a clear sentence."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import encode, gpu, harness
from tests.unit.test_encoder import write_tiny
from udfs.encoder.encoder import Encoder, read_model

WORDS = ("milk", "beer", "bread", "soap", "cat food", "wine", "eggs")
ITEMS = [" ".join(words) for count in (1, 2, 3) for words in itertools.product(WORDS, repeat=count)]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    write_tiny(folder)
    return folder


def test_dry_run_on_a_cpu_goes_through_every_part(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(encode.MIN_OVERLAP, "items", 0.9)  # a random model, few texts, the precision of any chip
    (tmp_path / "texts.txt").write_text("\n".join(ITEMS))
    files = ["--file", str(tmp_path / "texts.txt"), "--results", str(tmp_path / "results.json")]
    gpu.main(["--device", "cpu", "--weights", str(tiny), *files])
    out = capsys.readouterr().out
    for part in ("encode", "memory", "UDF", "user encoder", "top-K"):
        assert f"bench.gpu: {part} ..." in out
    for what in ("packed passes", "with little memory", "the UDF", "user encoder"):
        assert f"{what}: cosine to the CPU's float32" in out
    assert "utilisation" in out
    assert "tokens a pass did not fit" in out
    assert "figures mean nothing" in out
    assert not (tmp_path / "results.json").exists()


def test_rows_of_all_parts_are_given(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encode.MIN_OVERLAP, "items", 0.9)
    rows = gpu.measure(tiny, ITEMS, "cpu", gpu.DRY_RUN, lambda _: None)
    measures = [row.measure.split(" vs ")[0] for row in rows]
    utilisation = next(number for number, name in enumerate(measures) if "utilisation" in name)
    assert measures[utilisation + 1 :] == ["the encoding UDF", "the user encoder", "top-10, 64 x 2,000 x 384, resident"]
    assert min(row.ratio for row in rows) > 0


@pytest.mark.parametrize("check", [gpu.check_encoder, gpu.check_memory])
def test_vectors_unlike_the_cpu_s_stop_the_bench(tiny: Path, check, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Encoder(*read_model(tiny), dtype="float32").encode(ITEMS[:100], encode.MAX_TOKENS)
    check(tiny, ITEMS, expected, "cpu")
    with pytest.raises(harness.GateError, match=r"cosine to the CPU's float32"):
        check(tiny, ITEMS, np.roll(expected, 1, axis=0), "cpu")


def test_a_udf_whose_vectors_are_off_stops_the_bench(tiny: Path) -> None:
    right = Encoder(*read_model(tiny), dtype="float32")
    expected = right.encode(ITEMS[:100], right.settings.max_item_tokens)
    assert gpu.measure_udf(tiny, ITEMS, expected, "cpu", 1).ratio > 0
    with pytest.raises(harness.GateError, match="the UDF"):
        gpu.measure_udf(tiny, ITEMS, np.roll(expected, 1, axis=0), "cpu", 1)


def test_udf_gives_texts_of_several_batches_in_their_order(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "BATCH_ROWS", 7)
    one = gpu.through_udf(tiny, ITEMS[:40], "cpu", torch.get_num_threads())
    right = Encoder(*read_model(tiny)).encode(ITEMS[:40], 32)
    np.testing.assert_allclose(one, right, atol=2e-3)


def test_memory_that_never_ends_is_a_gate_error(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Encoder(*read_model(tiny), dtype="float32").encode(ITEMS[:10], encode.MAX_TOKENS)
    monkeypatch.setattr(gpu, "Limited", lambda model, _: model)
    with pytest.raises(harness.GateError, match="memory ended, and fewer tokens were tried"):
        gpu.check_memory(tiny, ITEMS, expected, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_machine_without_a_gpu_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu.main([])
    assert ended.value.code == 2
    assert "finds no CUDA device on this machine, so nothing was measured" in capsys.readouterr().err


def test_part_that_does_not_end_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    ended, codes = threading.Event(), []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    deadline = gpu.Deadline(0.2, end)
    deadline.begin("top-K")
    assert ended.wait(30)
    assert codes == [1]
    assert "top-K had not ended after 0 s; nothing is reported" in capsys.readouterr().err
    in_time = gpu.Deadline(0.5, end)
    in_time.cancel()
    assert not in_time._timer.is_alive() or in_time._timer.finished.is_set()
