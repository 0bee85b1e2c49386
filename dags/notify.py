"""Alerts for a task that has failed for good and for a late run: to the log, and to a connection if there is one.

The Airflow connection `nightshelf_alerts` is the destination; without it, alerts go to the log alone. By its type:
- http: a webhook. The alert is posted as JSON: `text` for chat systems, and its fields. The URL is the connection's
  schema, host and port, with the password as the path, which often is a secret;
- smtp: a mail to the addresses in the extra field `to` (a list), through the server of the connection.
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
    """Send an alert for a task that has failed for good: the job's own error line, which has no personal data."""
    task, run = context["task_instance"], context["dag_run"]
    alert = {
        "what": "failed",
        "dag": task.dag_id,
        "run": task.run_id,
        "task": task.task_id,
        "try": task.try_number,
        "run_date": _run_date(run),
        "error": str(context.get("exception") or "no reason given"),
        "url": str(getattr(task, "log_url", "")),
    }
    tell(f"Nightshelf: {alert['task']} of {alert['dag']} failed: {alert['error']}", alert)


def held(context: Context, version: str) -> None:
    """Send an alert for a new model that waits for `make approve`; its version is the task's XCom `held`."""
    task, run = context["task_instance"], context["dag_run"]
    task.xcom_push(key="held", value=version)
    alert = {"what": "held", "dag": task.dag_id, "run": task.run_id, "task": task.task_id, "run_date": _run_date(run)}
    tell(
        f"Nightshelf: {task.task_id}: model {version} is held: runs use it after make approve "
        f"RUN_DATE={alert['run_date']}",
        alert | {"model": version},
    )


def _run_date(run: Any) -> str:
    """The run_date; the parameter as text where it is no valid date, which may be the failure itself."""
    params = run.conf or {}
    try:
        return date_of_run(params, run).isoformat()
    except (OSError, ValueError):
        return str(params.get("run_date"))


def late(context: Mapping[str, Any] | None = None, **_: Any) -> None:
    """Send an alert for a scheduled run that is not done by its deadline and has not failed.

    Backfilled runs were due long ago, and a failed run has had its own alert. The run is a mapping, as in Airflow's
    API.
    """
    run = dict((context or {}).get("dag_run") or {})
    if run.get("run_type") != "scheduled" or run.get("state") == "failed":
        return
    moments = ("run_after", "logical_date", "data_interval_end")
    when = SimpleNamespace(conf=run.get("conf"), **{name: _moment(run.get(name)) for name in moments})
    alert = {"what": "late", "dag": run["dag_id"], "run": run["dag_run_id"], "run_date": _run_date(when)}
    tell(f"Nightshelf: {alert['dag']} of {alert['run_date']} is late: {alert['run']} is not done yet", alert)


def _moment(value: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def tell(text: str, alert: Mapping[str, Any]) -> None:
    """Log an alert and send it by the connection. A failure to send is logged and has no other effect."""
    log.error(text)
    try:
        connection = BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        return
    try:
        if connection.conn_type == "smtp":
            _mail(text, alert, connection.extra_dejson.get("to") or [])
        else:
            _post(webhook(connection), {"text": text, **alert})
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


def _mail(text: str, alert: Mapping[str, Any], to: list[str]) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    if not to:
        raise ValueError(f'the extra field of {CONNECTION} names nobody: {{"to": [...]}}')
    lines = "".join(f"<p>{name}: {escape(str(value))}</p>" for name, value in alert.items())
    with SmtpHook(smtp_conn_id=CONNECTION) as hook:
        hook.send_email_smtp(to=to, subject=text[:200], html_content=lines)
