"""[lineage]: where the OpenLineage events of a deployment's runs go. No Spark."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import model_validator

from schemas.strict import Strict


class Lineage(Strict):
    """[lineage]: a file that gets one JSON event a line, or an HTTP endpoint that gets each as a POST; neither: none.

    `namespace`: of the jobs in those events; the deployment's name by default.
    """

    file: str = ""
    url: str = ""
    namespace: str = ""

    @model_validator(mode="after")
    def _one_transport(self) -> Lineage:
        if self.file and self.url:
            raise ValueError("[lineage] has file and url: events go to one of them")
        parts = urlsplit(self.url)
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("[lineage] url: must be like http://lineage.example:5000/api/v1/lineage")
        if parts.username or parts.password:
            raise ValueError("[lineage] url: credentials do not belong here; set OPENLINEAGE_API_KEY for the run")
        return self

    def based_at(self, folder: Path) -> Lineage:
        """The same with a relative file made absolute."""
        return self.model_copy(update={"file": str((folder / self.file).resolve())}) if self.file else self
