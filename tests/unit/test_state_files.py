"""The state of scoring as files: what is read scores as what was written, from mapped memory, without any user."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.test_item_models import DAY, shop
from udfs.catalogue import Catalogue
from udfs.interactions import Interactions
from udfs.recommend import item_models, scoring, state_files
from udfs.recommend.candidates import Candidates


def state_of(copies: int = 1) -> tuple[scoring.State, Interactions]:
    """The state of a shop whose users are there so many times, and its purchases."""
    draw = np.random.default_rng(4)
    history = shop(4, users=12, items=20, lines=500)
    count = len(history.items)
    vectors = draw.normal(size=(count - 3, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    known = Catalogue(
        history.items,
        draw.integers(-1, 3, (count, 3)).astype(np.int32),
        np.full(count, DAY - 5, np.int32),
        vectors.astype(np.float16),
        np.arange(-3, count - 3).clip(-1).astype(np.int32),
        np.full(count, DAY + 9, np.int32),
    )
    history = history.part(~np.isin(history.item, [2, 9]))  # never sold, described lately
    if copies > 1:
        lines = len(history)
        user = np.where(
            history.user < 0, -1, history.user + np.repeat(np.arange(copies), lines).reshape(copies, -1) * 50
        )
        names = {
            name: np.tile(getattr(history, name), copies)
            for name in ("item", "day", "quantity", "undone_on", "known_on")
        }
        basket = history.basket + np.arange(copies)[:, None] * 10_000
        users = np.array([f"u{number:05}" for number in range(50 * copies)])
        history = replace(history, users=users, user=user.ravel().astype(np.int32), basket=basket.ravel(), **names)
        order = np.lexsort((history.basket, history.item, history.user, history.day))
        history = history.part(order)
    return scoring.fit_state(history, known, DAY), history


def same(one: Candidates, other: Candidates) -> bool:
    return all(
        np.array_equal(getattr(one, f.name), getattr(other, f.name), equal_nan=f.name == "scores") for f in fields(one)
    )


def test_a_state_read_from_files_scores_as_the_one_written(tmp_path: Path) -> None:
    state, history = state_of()
    state_files.write(state, tmp_path / "state")
    again = state_files.read(str(tmp_path / "state"))
    assert state.models.fitted == len(state.models) - 2
    pairs, features = scoring.propose(history, state, DAY)
    pairs_again, features_again = scoring.propose(history, again, DAY)
    assert same(pairs, pairs_again)
    assert np.array_equal(features, features_again, equal_nan=True)
    assert pairs.proposed.any(axis=0).all(), "every generator proposes something"


def test_vectors_read_as_needed_score_as_those_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, _ = scoring.propose(state_of()[1], state_of()[0], DAY)
    monkeypatch.setattr(scoring, "ROWS_IN_MEMORY", 0)
    assert same(pairs, scoring.propose(state_of()[1], state_of()[0], DAY)[0])


def test_files_are_mapped_and_not_read(tmp_path: Path) -> None:
    state_files.write(state_of()[0], tmp_path / "state")
    again = state_files.read(str(tmp_path / "state"))
    arrays = [*vars(again.catalogue).values(), again.models.neighbours, again.models.factors]
    arrays += [votes.data for votes in again.models.votes.values()]
    for array in arrays:
        base = array
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)


def test_pieces_make_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_files, "PIECE_BYTES", 300)
    state, _ = state_of()
    state_files.write(state, tmp_path / "written")
    for name, offset, content in state_files.pieces(state):
        assert len(content) <= 300
        with (tmp_path / name).open("ab") as file:
            assert file.tell() == offset
            file.write(content)
    for path in (tmp_path / "written").iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_the_files_grow_with_items_and_not_with_users(tmp_path: Path) -> None:
    sizes = []
    for copies in (1, 20):
        state_files.write(state_of(copies)[0], tmp_path / str(copies))
        sizes.append(sum(path.stat().st_size for path in (tmp_path / str(copies)).iterdir()))
    assert sizes[1] <= 1.05 * sizes[0]  # neighbours that one buyer alone would not make


def test_bytes_of_an_item_are_bounded() -> None:
    """With a million sold items the files have at most 5 GB, and a never-sold item adds its vector and some words."""
    settings = item_models.FitSettings()
    neighbours = settings.neighbours + settings.next_neighbours + settings.basket_neighbours
    votes = 8 * neighbours + 8 * settings.ease_neighbours * settings.ease_items // 1_000_000 + 4 * 4
    near = 8 * state_files.REASON_NEIGHBOURS
    vector, words = 2 * 384, 4 * 20 + 4 * 3 + 4 * 3 + 4 * len(item_models.STATISTICS) + 4 * 3
    assert vector + words <= 1_000
    assert (votes + near + 4 * settings.factors + vector + words) * 1_000_000 <= 5e9
