"""Exact top-K against peers, in seconds for the same users, items and k.

    python -m bench.topk                                    # 5,000 users x 50,000 items x 384, the best 100
    python -m bench.topk --users 512 --items 8192 --threads 1
    python -m bench.topk --device cuda --users 1000000 --items 100000     # needs no Spark; torch, NumPy, Rich

Vectors are random directions, rounded to float16 as the tables hold them; every tenth item has the vector of another,
as items of one text have, so that ties are there to be broken.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from bench.harness import Contenders, Row, Timing, alternate, compare, console, gate, on_cpu, report
from udfs.top_k.exact import top_k
from udfs.top_k.scan import Floats, Indices

DIMS, REPEATED = 384, 10
USERS_PER_LOOP = 256
MIN_RECALL = 0.99  # of peers, which may break ties as they like; ours must be the oracle's lists, place by place
OURS, PLAIN, IMPLICIT = "ours", "NumPy argpartition, float32", "implicit's topk, float32"
RESIDENT, TORCH = "ours, resident", "torch's product and topk, float16"
ON_A_GPU = 1.5 / (1_000_000 * 100_000)  # seconds a pair of vectors in a GPU's memory

Search = Callable[[Floats, Floats, int], Indices]


def directions(rows: int, seed: int) -> Floats:
    """[rows, DIMS] of length 1, to float16 and back; every tenth row repeats an earlier one."""
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((rows, DIMS), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    again = np.arange(REPEATED, rows, REPEATED)
    vectors[again] = vectors[draw.integers(0, again)]
    return vectors.astype(np.float16).astype(np.float32)


def ours(users: Floats, items: Floats, k: int) -> Indices:
    """udfs.top_k.exact, with ids in the order of the items."""
    return top_k(users, items, _ids(len(items)), k)[0]


def argpartition(users: Floats, items: Floats, k: int) -> Indices:
    """The usual NumPy solution: per block of users, partition, then sort the best k."""
    indices = np.empty((len(users), k), np.int64)
    for start in range(0, len(users), USERS_PER_LOOP):
        scores = users[start : start + USERS_PER_LOOP] @ items.T
        best = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        indices[start : start + USERS_PER_LOOP] = np.take_along_axis(best, order, axis=1)
    return indices


def implicit_topk(users: Floats, items: Floats, k: int, threads: int = 0) -> Indices:
    """The compiled search behind implicit's recommend."""
    from implicit.cpu.topk import topk

    return np.asarray(topk(items, users, k, num_threads=threads)[0], np.int64)


def oracle(users: Floats, items: Floats, k: int) -> Indices:
    """Every score in float64, which is exact for float16 values, rounded to float32; ties by item."""
    scores = (users.astype(np.float64) @ items.astype(np.float64).T).astype(np.float32)
    by_item = np.arange(len(items))
    return np.array([np.lexsort((by_item, -row))[:k] for row in scores]).reshape(len(users), min(k, len(items)))


def check(name: str, actual: Indices, expected: Indices) -> str:
    """One line: the share of the oracle's items that were found and, for ours, of its places. Raises GateError."""
    if name == OURS:
        return gate(f"{name}: places as the oracle's,", float((actual == expected).mean()), 1.0)
    hits = sum(len(set(mine) & set(right)) for mine, right in zip(actual.tolist(), expected.tolist(), strict=True))
    return gate(f"{name}: items of the oracle's,", hits / expected.size, MIN_RECALL)


def measure(users: Floats, items: Floats, k: int, sample: int, threads: int, repeats: int) -> list[Row]:
    """One row per peer, after the lists of some users have been compared with the oracle's."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    search: dict[str, Search] = {OURS: ours, PLAIN: argpartition, IMPLICIT: partial(implicit_topk, threads=threads)}
    with threadpool_limits(threads):
        expected = oracle(users[:sample], items, k)
        for name, run in search.items():
            indices = run(users, items, k)[:sample]  # of all users, as timed: ours may scan few otherwise
            console().print(check(name, indices, expected), style="dim")
        contenders: Contenders = {name: (partial(run, users, items, k), 1.0) for name, run in search.items()}
        timings = alternate(contenders, repeats)
    size = f"top-{k}, {len(users):,} x {len(items):,} x {items.shape[1]}"
    where = on_cpu(threads)
    return [compare(f"{size} vs {name}", where, timings[OURS], timings[name], "s") for name in (PLAIN, IMPLICIT)]


def measure_device(users: Floats, items: Floats, k: int, sample: int, device: str, repeats: int) -> list[Row]:
    """Users and items in a device's memory: ours, exact, against a product and topk, and on a GPU against ON_A_GPU."""
    import torch

    from udfs.top_k.device import Resident

    resident = Resident(items.astype(np.float16), device)
    on_device = torch.tensor(users.astype(np.float16), device=device)
    doubtful = []

    def blocks(search: Callable[[torch.Tensor], object]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                for start in range(0, len(on_device), resident.block):
                    search(on_device[start : start + resident.block])
                if on_device.is_cuda:
                    torch.cuda.synchronize()

        return run

    def exact(block: torch.Tensor) -> None:
        doubtful.append(resident.best(block, k)[2].sum())

    with torch.inference_mode():
        expected = oracle(users[:sample], items, k)
        indices = top_k(users[:sample], items, _ids(len(items)), k, device=device)[0]
        console().print(check(OURS, indices, expected), style="dim")
        plain = (on_device[:sample] @ resident.items.T).topk(k).indices.cpu().numpy()
        console().print(check(TORCH, plain, expected), style="dim")
    contenders: Contenders = {
        RESIDENT: (blocks(exact), 1.0),
        TORCH: (blocks(lambda block: (block @ resident.items.T).topk(k)), 1.0),
    }
    timings = alternate(contenders, repeats)
    gate("users whose lists stand without a second search", 1 - float(sum(doubtful)) / len(users) / repeats, 0.999)
    size = f"top-{k}, {len(users):,} x {len(items):,} x {items.shape[1]}, resident"
    where = torch.cuda.get_device_name(device) if on_device.is_cuda else on_cpu(torch.get_num_threads())
    rows = [compare(f"{size} vs {TORCH}", where, timings[RESIDENT], timings[TORCH], "s")]
    if on_device.is_cuda:
        wanted = Timing((ON_A_GPU * len(users) * len(items),) * repeats)
        rows.append(compare(f"{size} vs what an H100 is to take", where, timings[RESIDENT], wanted, "s", 1.0))
    return rows


def _ids(count: int) -> npt.NDArray[np.str_]:
    return np.char.zfill(np.arange(count).astype(np.str_), len(str(count)))


def main(arguments: list[str]) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        "python -m bench.topk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--sample", type=int, default=200, help="users whose lists are compared with the oracle's")
    parser.add_argument("--device", help="torch's name of one that searches, such as cuda; default: NumPy on the CPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args(arguments)
    users, items = directions(given.users, given.seed), directions(given.items, given.seed + 1)
    if given.device is not None:
        report(measure_device(users, items, given.k, given.sample, given.device, given.repeats))
        return
    report(measure(users, items, given.k, given.sample, given.threads, given.repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
