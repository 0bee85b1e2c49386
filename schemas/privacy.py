"""[privacy]: keys and places outside the lake that erasure needs. No Spark."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from schemas.strict import Strict


class Key(Strict):
    """A secret key by its id: from the environment (`key_env`) or a file (`key_file`) of driver and executors."""

    key_env: str = Field(default="", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$|^$")
    key_file: str = ""
    key_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,50}$")

    @model_validator(mode="after")
    def _one_place(self) -> Key:
        if bool(self.key_env) == bool(self.key_file):
            raise ValueError("there must be either key_env or key_file")
        return self


class Erasure(Key):
    """[privacy.erasure]: `erased`, the file with a keyed hash of each erased user, by which intake leaves them out."""

    erased: str = Field(min_length=1)


class Privacy(Strict):
    """[privacy]; a deployment without it computes and stores what it did before there was one."""

    erasure: Erasure | None = None

    def based_at(self, here: Path, lake: str) -> Privacy:
        """The same with absolute paths, relative ones taken from `here`. ValueError where one is inside the lake."""
        if self.erasure is None:
            return self
        paths = {name: getattr(self.erasure, name) for name in ("erased", "key_file")}
        absolute = {name: str((here / path).resolve()) for name, path in paths.items() if path}
        for name, path in absolute.items():
            if Path(path).is_relative_to(lake.removeprefix("file://")):
                raise ValueError(f"privacy.erasure.{name}: {path} is inside the lake {lake}, and must be outside")
        return self.model_copy(update={"erasure": self.erasure.model_copy(update=absolute)})
