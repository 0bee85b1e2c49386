"""Proof of an erasure: `python -m jobs.commands.prove_erasure --ids users.txt --conf conf/<deployment>.toml`.

Every file of the lake is decoded and searched. Exit code 0: no id is in it; 3: one is; 4: only what cannot be decided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from jobs.commands.erase import all_ids
from jobs.runner import object_store
from jobs.runner.cli import exit_code
from jobs.runner.pseudonym_vault import pseudonyms_of
from jobs.runner.traces import Trace, UserFields, traces
from schemas.deployment import Deployment, load
from schemas.errors import DataError, TooEarlyError
from udfs.id_search import Ids, numbered

MOST_SHOWN = 50


def prove(deployment: Deployment, ids: Sequence[str]) -> list[Trace]:
    """What the lake and the vault still have of these ids and pseudonyms, what is certain first."""
    object_store.use(deployment)
    wanted, fields = Ids(frozenset(ids)), UserFields.of(deployment)
    found = list(traces(deployment.lake, wanted, fields))
    if deployment.privacy.pseudonyms:
        vault = deployment.privacy.pseudonyms.vault
        found += [replace(trace, file=f"{vault}/{trace.file}") for trace in traces(vault, wanted, fields)]
    return sorted(found, key=lambda trace: (not trace.decided, trace.file, trace.place))


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the flags, search, print what was found by the lines of the ids' file."""
    parser = argparse.ArgumentParser(prog="jobs.commands.prove_erasure", description=__doc__)
    parser.add_argument("--ids", required=True, help="a file with one user_id a line")
    parser.add_argument("--conf", required=True, help="the deployment, conf/<name>.toml")
    given = parser.parse_args(arguments)

    def act() -> None:
        deployment, ids = load(given.conf), all_ids(given.ids)
        hidden = pseudonyms_of(deployment, ids)
        lines = {each: number for each_of in (ids, hidden) for number, each in enumerate(each_of, start=1)}
        found = prove(deployment, [*ids, *hidden])
        for trace in found[:MOST_SHOWN]:
            of = f": ids {numbered(trace.ids, lines)} of {given.ids}" if trace.ids else ""
            print(f"{'FOUND' if trace.decided else 'not decided'}  {trace.file}, {trace.place}{of}")
        certain = sum(trace.decided for trace in found)
        if certain:
            raise DataError(f"{deployment.lake} still has ids, in {certain} places: erase again")
        if found:
            raise TooEarlyError(f"{len(found)} places of {deployment.lake} cannot be decided; see docs/privacy.md")
        print(f"none of {len(ids)} ids is in {deployment.lake}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main())
