"""What a run uses beside its tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """One promoted model. `file_name` is what executors find it by (SparkFiles)."""

    version: str
    folder: str

    @property
    def file_name(self) -> str:
        """The folder's last part."""
        return self.folder.rsplit("/", 1)[-1]
