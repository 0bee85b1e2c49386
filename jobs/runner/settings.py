"""A job's function and its settings: flag over conf over default."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from jobs.flow import JOBS
from schemas.deployment import RENAMED, Deployment
from schemas.errors import ConfError
from schemas.experiments import JOB
from schemas.job import Job

RUN = "run"  # the keyword-only parameter that is no setting: the RunContext


def function_of(name: str) -> Callable[..., Any]:
    """The function of a job: jobs/<name>.py has one of that name."""
    function: Callable[..., Any] = getattr(importlib.import_module(f"jobs.{name}"), name)
    return function


def knobs_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """A job's tuning knobs: its keyword-only parameters with defaults."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != RUN}


def settings(
    job: Job, function: Callable[..., Any], deployment: Deployment, flags: Mapping[str, Any]
) -> dict[str, Any]:
    """Each knob's value: flag over conf over default. ConfError names the file's key and the type it must have."""
    knobs = knobs_of(function)
    chosen = dict(deployment.jobs.get(job.name, {}))
    for name, value in chosen.items():
        where = f"{deployment.file}: [jobs.{job.name}] {name}"
        if key := RENAMED.get((job.name, name)):
            raise ConfError(f"{where}: this key has been replaced by {key}")
        if name not in knobs:
            raise ConfError(f"{where}: unknown key; {job.name} has {', '.join(knobs) or 'no knobs'}")
        wanted = knobs[name].annotation
        if get_origin(wanted) is Literal:
            if value not in get_args(wanted):
                raise ConfError(f"{where}: must be one of {', '.join(get_args(wanted))}, not {value!r}")
        elif type(value) is int and wanted is float:
            chosen[name] = float(value)
        elif type(value) is not wanted:
            raise ConfError(f"{where}: must be {wanted.__name__}, not {value!r}")
    return chosen | {name: value for name, value in flags.items() if value is not None}


def check_settings(deployment: Deployment) -> None:
    """ConfError for a deployment that names an unknown job or knob, before any data are read."""
    for name in deployment.jobs:
        if name not in JOBS:
            raise ConfError(f"{deployment.file}: [jobs.{name}]: no such job; there are {', '.join(JOBS)}")
        settings(JOBS[name], function_of(name), deployment, {})
    for experiment in deployment.experiments:
        for name, changed in experiment.variants.items():
            _check_variant(deployment, f"{experiment.id}, variants.{name}", changed)


def _check_variant(deployment: Deployment, where: str, changed: Mapping[str, Any]) -> None:
    """ConfError for a variant of an experiment with an unknown setting, or one of another type."""
    try:
        settings(JOBS[JOB], function_of(JOB), deployment.model_copy(update={"jobs": {JOB: dict(changed)}}), {})
    except ConfError as error:
        raise ConfError(f"{error} ([[experiments]] {where})") from None
