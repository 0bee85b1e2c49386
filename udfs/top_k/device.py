"""Exact top-k search on a torch device: bit for bit the results of udfs/top_k/exact.py.

Items stay on the device as they are stored, in float16. A block of queries is multiplied with all of them in float16,
sums in float32: the rounding error is bounded, so the few items past the k-th that may still be among the best are
known. Only these are scored in float64, where sums are exact in any order. A query with more items in question than
were looked at, since many score alike, is reported as doubtful; the caller searches it as on a CPU.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from udfs.top_k.scan import HALF_BIT, Indices

Halves: TypeAlias = npt.NDArray[np.float16]

CELLS = 2**28  # scores at a time: 512 MiB of float16, and as much for what sorts them
EXACT_CELLS = 2**26  # float64 values at a time: 512 MiB
MARGIN = 32  # items looked at beyond k: of 100,000 random directions some 7 are in question for the best 100
HALF_BIT_OF_16 = 2.0**-11  # largest relative change of a value that is rounded to float16
SMALLEST_OF_16 = 2.0**-24  # near 0 the change is half of this at most


class Resident:
    """Items [m, d], their lengths at most LONGEST_ROW, in the memory of a device."""

    def __init__(self, items: Halves, device: str) -> None:
        """Copy them there."""
        # Otherwise parts of a sum may be added up in float16, and `slack` would not hold.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        self.device = torch.device(device)
        self.items = torch.tensor(items, device=self.device)
        self.longest = float(torch.linalg.vector_norm(self.items.float(), dim=1).max()) if len(items) else 0.0

    @property
    def block(self) -> int:
        """How many queries to take at a time."""
        return max(1, CELLS // max(1, len(self.items)))

    def slack(self, queries: torch.Tensor) -> torch.Tensor:
        """Error bound of the float16 scores of each query: [n], float32."""
        # A float32 sum of d products is off by at most d x 2^-24 x the product of the lengths; doubled for what
        # is rounded around it.
        lengths = torch.linalg.vector_norm(queries.double(), dim=1) * self.longest
        off = lengths * (HALF_BIT_OF_16 + 2 * (queries.shape[1] + 2) * HALF_BIT) * (1 + HALF_BIT_OF_16)
        slack: torch.Tensor = (off + SMALLEST_OF_16).float()
        return slack

    def best(
        self, queries: torch.Tensor, k: int, banned: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """For queries [n, d] (float16, on the device): item positions [n, k], scores [n, k], and doubtful rows [n].

        banned: query rows and item positions that are left out. Where they leave fewer than k, the last positions are
        -1, their scores -inf. 0 < k <= m; n x m fit into the device's memory.
        """
        near = queries @ self.items.T
        if banned is not None:
            near[banned] = -torch.inf
        looked_at = min(len(self.items), k + MARGIN)
        most, positions = torch.topk(near, looked_at, dim=1)
        floor = most[:, k - 1].float() - 2 * self.slack(queries)
        doubtful = (most[:, -1].float() >= floor) & (looked_at < len(self.items))
        positions, by_item = torch.sort(positions, dim=1)
        exact = self._exact(queries, positions)
        exact[most.gather(1, by_item) == -torch.inf] = -torch.inf
        scores, place = torch.sort(exact, dim=1, descending=True, stable=True)  # equal scores stay by item
        scores, positions = scores[:, :k], positions.gather(1, place)[:, :k]
        return positions.masked_fill(scores == -torch.inf, -1), scores, doubtful

    def _exact(self, queries: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """The scores of each query's items, float64 rounded to float32."""
        step = max(1, EXACT_CELLS // max(1, positions.shape[1] * queries.shape[1]))
        parts = [
            torch.bmm(self.items[positions[at : at + step]].double(), queries[at : at + step].double().unsqueeze(2))
            for at in range(0, len(queries), step)
        ]
        return torch.cat(parts).squeeze(2).float()


def top_k(
    queries: Halves, items: Halves, k: int, banned: tuple[Indices, Indices] | None, device: str
) -> tuple[Indices, npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Positions [n, k], scores [n, k] and doubtful queries [n]; as Resident.best, a block of queries at a time."""
    with torch.inference_mode():
        resident = Resident(items, device)
        parts = []
        for start in range(0, len(queries), resident.block):
            left_out = None
            if banned is not None:
                in_block = (banned[0] >= start) & (banned[0] < start + resident.block)
                rows, columns = banned[0][in_block] - start, banned[1][in_block]
                left_out = torch.tensor(rows, device=resident.device), torch.tensor(columns, device=resident.device)
            block = torch.tensor(queries[start : start + resident.block], device=resident.device)
            parts.append([part.cpu().numpy() for part in resident.best(block, k, left_out)])
    positions, scores, doubtful = (np.concatenate(part) for part in zip(*parts, strict=True))
    return positions, scores, doubtful
