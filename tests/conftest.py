"""What the tests share: where things are, the chromium that a test may drive, and no silent skips in CI."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "chapters"))  # for repository.py, which is no part of the package
sys.path.insert(0, str(ROOT / "tests" / "golden"))  # for witness.py

STRICT = os.environ.get("BOOK_REQUIRE_ALL") == "1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _no_skip(report):
    # A tool can be installed; a GPU cannot.
    if STRICT and report.skipped and not hasattr(report, "wasxfail") and "needs a GPU" not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped, which BOOK_REQUIRE_ALL=1 forbids: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _no_skip((yield))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the book."""
    return ROOT


@pytest.fixture(scope="session")
def browser():
    """A headless chromium that asks nothing of the network by itself."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(
                executable_path=found,
                args=[
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                ],
            )
        except sync_api.Error as error:
            pytest.skip(f"no chromium to open pages with: {str(error).splitlines()[0]}")
        yield chromium
        chromium.close()
