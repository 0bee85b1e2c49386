"""A person at Airflow's UI: logs in, triggers a night by the form, sees it succeed. By hand, with pictures:

    uv run --with playwright==1.65.* python -m tests.support.browse_airflow URL PASSWORD RUN_DATE FOLDER

Needs Debian's chromium. The pictures in docs/ are made with it; look at them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as NotYet

DAG, SECONDS = "nightshelf_nightly", 3_600


def pictures(page: Page, url: str, keep: Callable[[str], None]) -> None:
    """The grid, the graph with every job, and the lineage of the tables."""
    page.goto(f"{url}/dags/{DAG}")
    page.get_by_label("Expand all task groups").click()
    keep("grid")
    page.keyboard.press("g")
    page.locator(".react-flow__node").first.wait_for()
    keep("graph")
    page.goto(f"{url}/assets")
    page.get_by_text("gold.recommendations").first.click()
    page.get_by_text("Task Dependencies").click()
    page.locator(".react-flow__node").first.wait_for()
    keep("assets")


def wait_for_success(page: Page, url: str) -> None:
    """Look at the runs now and then: a page that is left open takes a quarter of a core from the night."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        page.goto(f"{url}/dags/{DAG}/runs")
        try:
            page.get_by_text("Success").first.wait_for(timeout=15_000)
            return
        except NotYet:
            page.goto("about:blank")
            page.wait_for_timeout(30_000)
    raise SystemExit(f"no run of {DAG} succeeded within {SECONDS} s")


def main(url: str, password: str, run_date: str, folder: str) -> None:
    """Do what a person does, and keep what they see."""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(300_000)  # of a machine that scores a night beside it

        def keep(name: str) -> None:
            page.wait_for_timeout(2_500)  # what moves comes to rest
            page.screenshot(path=str(Path(folder) / f"airflow_{name}.png"))

        page.goto(url)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_url("**/")
        page.goto(f"{url}/dags/{DAG}")
        page.get_by_role("button", name="Trigger").first.click()
        page.wait_for_timeout(2_000)
        keep("form")
        page.locator("input[type=date]").first.fill(run_date)
        page.get_by_role("button", name="Trigger").last.click()
        page.wait_for_timeout(3_000)
        wait_for_success(page, url)
        pictures(page, url, keep)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
