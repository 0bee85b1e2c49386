"""A checkpoint folder belongs to one training at a time and stays until what was made of it has been committed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.offline.resume import workplace
from schemas.errors import BusyError
from tests.support.tiny_shop import REPO

NAME, FACTS = "shop-train_model-2024-03-01", {"seed": 7}


@pytest.mark.parametrize("facts", [FACTS, {"seed": 8}], ids=["the same", "of other facts"])
def test_a_second_training_of_a_name_is_refused_while_one_is_at_work(tmp_path: Path, facts: dict[str, int]) -> None:
    with workplace(tmp_path, NAME, FACTS) as place:
        (place / "half").write_text("done")
        with (
            pytest.raises(BusyError, match="another training of this name is at work there"),
            workplace(tmp_path, NAME, facts),
        ):
            pass
        assert (place / "half").read_text() == "done"
        with workplace(tmp_path, NAME.replace("shop", "other_shop"), facts) as other:
            assert other != place


def test_a_checkpoint_goes_after_the_commit(tmp_path: Path) -> None:
    ends: list[Callable[[bool], None]] = []
    with workplace(tmp_path, NAME, FACTS, ends.append) as place:
        (place / "half").write_text("done")
    assert (place / "half").exists()
    with pytest.raises(BusyError), workplace(tmp_path, NAME, FACTS):
        pass
    ends.pop()(False)  # what was made has been refused
    with workplace(tmp_path, NAME, FACTS, ends.append) as again:
        assert (again / "half").read_text() == "done"
    ends.pop()(True)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_training_is_free(tmp_path: Path) -> None:
    line = (
        "import os, pathlib\nfrom jobs.offline.resume import workplace\n"
        f"with workplace(pathlib.Path({str(tmp_path)!r}), {NAME!r}, {FACTS!r}) as place:\n"
        "    (place / 'half').write_text('done')\n    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", line], cwd=REPO, check=False).returncode == 9
    with workplace(tmp_path, NAME, FACTS) as place:
        assert (place / "half").read_text() == "done"
