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


class Pseudonyms(Key):
    """[privacy.pseudonyms]: user_id is a keyed hash from silver on; `vault`: the folder of the table back to ids."""

    vault: str = Field(min_length=1)


class Privacy(Strict):
    """[privacy]; a deployment without it computes and stores what it did before there was one."""

    erasure: Erasure | None = None
    pseudonyms: Pseudonyms | None = None

    def based_at(self, here: Path, lake: str) -> Privacy:
        """The same with absolute paths, relative ones taken from `here`. ValueError where one is inside the lake."""
        parts = {name: part for name in ("erasure", "pseudonyms") if (part := getattr(self, name)) is not None}
        changed: dict[str, Key] = {}
        for name, part in parts.items():
            paths = {key: getattr(part, key, "") for key in ("erased", "vault", "key_file")}
            absolute = {key: str((here / path).resolve()) for key, path in paths.items() if path}
            for key, path in absolute.items():
                if Path(path).is_relative_to(lake.removeprefix("file://")):
                    raise ValueError(f"privacy.{name}.{key}: {path} is inside the lake {lake}, and must be outside")
            changed[name] = part.model_copy(update=absolute)
        return self.model_copy(update=changed)
