"""Who is told when a task fails for good, or when a night is late: the log, and a connection if there is one.

The Airflow connection `nightshelf_alerts` says where to; without one, the log has to do. Its type decides:
- http: a webhook. The message is posted as JSON, `text` for chat systems, and its parts; the URL is the connection's
  schema, host, port and, for what is secret in it, its password as the path;
- smtp: a mail to the addresses in the extra field `to` (a list), by the server that the connection describes.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from html import escape
from types import SimpleNamespace
from typing import Any

from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowNotFoundException

from dags.run_date import date_of_run

CONNECTION = "nightshelf_alerts"
SECONDS = 20  # an alert must not hold a task up for longer

log = logging.getLogger(__name__)


def failed(context: Context) -> None:
    """Tell of a task that has failed for good, in the job's own sentence, which has no value of a person."""
    task, run = context["task_instance"], context["dag_run"]
    told = {
        "what": "failed",
        "dag": task.dag_id,
        "run": task.run_id,
        "task": task.task_id,
        "try": task.try_number,
        "run_date": _run_date(run),
        "error": str(context.get("exception") or "no reason given"),
        "url": str(getattr(task, "log_url", "")),
    }
    tell(f"Nightshelf: {told['task']} of {told['dag']} failed: {told['error']}", told)


def _run_date(run: Any) -> str:
    """The run's date; as it was asked for where that is no date, which may be the very failure to tell of."""
    params = run.conf or {}
    try:
        return date_of_run(params, run).isoformat()
    except (OSError, ValueError):
        return str(params.get("run_date"))


def late(context: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Tell of a night that is not done by its deadline, if it is one of the schedule and has not failed.

    Nights of a backfill were due long ago, and of one that failed somebody has been told. The run comes as Airflow's
    API has it.
    """
    run = dict((context or {}).get("dag_run") or {})
    if run.get("run_type") != "scheduled" or run.get("state") == "failed":
        return
    moments = ("run_after", "logical_date", "data_interval_end")
    when = SimpleNamespace(conf=run.get("conf"), **{name: _moment(run.get(name)) for name in moments})
    told = {"what": "late", "dag": run["dag_id"], "run": run["dag_run_id"], "run_date": _run_date(when)}
    tell(f"Nightshelf: {told['dag']} of {told['run_date']} is late: {told['run']} is not done yet", told)


def _moment(told: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(told) if isinstance(told, str) else told


def tell(text: str, told: Mapping[str, Any]) -> None:
    """Log it, and hand it to the connection. An alert that cannot be sent is logged and changes nothing else."""
    log.error(text)
    try:
        connection = BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        return
    try:
        if connection.conn_type == "smtp":
            _mail(text, told, connection.extra_dejson.get("to") or [])
        else:
            _post(webhook(connection), {"text": text, **told})
    except Exception:
        log.exception("the alert could not be sent by %s", CONNECTION)


def webhook(connection: Any) -> str:
    """The URL of an http connection; its password, if it has one, is the path."""
    named, _, bare = str(connection.host).rpartition("://")  # some write the scheme before the host
    host = f"{bare}:{connection.port}" if connection.port else bare
    scheme = named or connection.schema or "https"
    return f"{scheme}://{host}/{(connection.password or '').lstrip('/')}"


def _post(url: str, message: Mapping[str, Any]) -> None:
    import httpx

    httpx.post(url, json=dict(message), timeout=SECONDS).raise_for_status()


def _mail(text: str, told: Mapping[str, Any], to: list[str]) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    if not to:
        raise ValueError(f'the extra field of {CONNECTION} names nobody: {{"to": [...]}}')
    lines = "".join(f"<p>{name}: {escape(str(value))}</p>" for name, value in told.items())
    with SmtpHook(smtp_conn_id=CONNECTION) as hook:
        hook.send_email_smtp(to=to, subject=text[:200], html_content=lines)
