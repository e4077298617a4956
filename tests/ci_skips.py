"""On a CI machine (CI=true) a test that is skipped is a failure, but for what such a machine cannot have."""

from __future__ import annotations

import os
import re

import pytest

MAY_BE_SKIPPED = re.compile(
    r"CUDA|GPU"  # CI has none
    r"|could not import '(ray|open_clip)'|(pymilvus|milvus) is not installed"  # extras that `all` leaves out
    r"|(zsh|fish) is not installed"
    r"|needs qemu-user"  # slow tests only
)
"""Reasons for which a test may be skipped even there."""


def lost(config: pytest.Config) -> list[tuple[str, str]]:
    """Tests that were skipped and should have run, each with the reason."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or os.environ.get("CI") != "true":
        return []
    found = []
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not MAY_BE_SKIPPED.search(reason):
            found.append((report.nodeid, reason.removeprefix("Skipped: ")))
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and lost(
        session.config
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = lost(config)
    if missing:
        terminalreporter.section("skipped on a CI machine, which counts as failed", red=True)
        for test, reason in missing:
            terminalreporter.line(f"{test}: {reason}")
