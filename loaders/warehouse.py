"""A resident dbt: one process, one kept manifest, many builds.

Starting dbt costs seconds of imports and parsing; a build that is told to run in a process that
already did both costs what its SQL costs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loaders.config import Settings
from loaders.errors import UserError
from loaders.failpoints import reach

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult


STAGED_SECONDS = 3600.0  # a run that is older and has not cleared up was killed


@dataclass
class BuildReport:
    """What one dbt invocation did."""

    seconds: float
    succeeded: bool
    failures: list[str] = field(default_factory=list)
    node_seconds: dict[str, float] = field(default_factory=dict)
    build_id: str = ""  # dbt's invocation id, which its own log has too


class Warehouse:
    """dbt for one lakehouse and target; parse once, then :meth:`invoke` as often as needed."""

    def __init__(self, settings: Settings) -> None:
        """Parse the project; :class:`UserError` if that fails."""
        from dbt.cli.main import dbtRunner
        from dbt.contracts.graph.manifest import Manifest
        from dbt.contracts.graph.nodes import CompiledNode

        from loaders.resident import settle_in

        settle_in()
        os.environ.update(settings.environment())
        self._staging = settings.state / "staging"
        self._options = [
            *("--project-dir", str(settings.project)),
            *("--profiles-dir", str(settings.project / "profiles")),
            *("--target", settings.target),
            # Apart from the project's own target folder: a dbt by hand may be at work there.
            *("--target-path", str(settings.state / "target")),
            *("--log-path", str(settings.state / "logs")),
            *("--log-level", "none", "--log-level-file", "warn", "--log-format-file", "json"),
            "--no-version-check",
            "--no-print",
            # Nobody reads the artifacts of a tick; writing the manifest costs 0.1 s each time.
            "--no-write-json",
        ]
        result = dbtRunner().invoke(["parse", *self._options])
        if not result.success or not isinstance(result.result, Manifest):
            raise UserError(f"the dbt project does not parse: {result.exception}")
        self._manifest = result.result
        self._compiled_node = CompiledNode
        self._runner = dbtRunner(manifest=result.result)

    def invoke(self, *arguments: str) -> BuildReport:
        """Run one dbt command and say how it went; never raises for a failed node."""
        from dbt_common.invocation import get_invocation_id

        started = time.monotonic()
        self._forget_compiled()
        try:
            result = self._runner.invoke([*arguments, *self._options])
            reach("build.after_run")
        finally:
            self._remove_staged()
        report = BuildReport(time.monotonic() - started, bool(result.success))
        report.build_id = get_invocation_id()
        if result.exception is not None:
            report.failures.append(str(result.exception).strip())
        for node in getattr(result.result, "results", None) or []:
            report.node_seconds[node.node.name] = node.execution_time
            if node.status in ("error", "fail", "runtime error"):
                report.failures.append(f"{node.node.name}: {_first_lines(node)}")
        return report

    def _remove_staged(self) -> None:
        """Remove what the run has staged for its merges, and what killed runs have left."""
        from dbt_common.invocation import get_invocation_id

        folders = [(self._staging / get_invocation_id(), True)]
        if self._staging.is_dir():
            folders += [(folder, False) for folder in self._staging.iterdir()]
        for folder, is_own in folders:
            with contextlib.suppress(FileNotFoundError):
                if is_own or time.time() - folder.stat().st_mtime > STAGED_SECONDS:
                    shutil.rmtree(folder)

    def _forget_compiled(self) -> None:
        """Undo what the last invocation compiled into the kept manifest.

        dbt marks a node whose ephemeral parents are inlined and does not inline them again, so the
        second build of a kept manifest would select from CTEs that are not there.
        """
        for node in self._manifest.nodes.values():
            if isinstance(node, self._compiled_node):
                node.compiled = False
                node.compiled_code = None
                node.extra_ctes_injected = False
                node.extra_ctes = []


def _first_lines(node: RunResult) -> str:
    """A failed node's message, and for a data test where to look."""
    message = " ".join(str(node.message or node.status).split())
    compiled = getattr(node.node, "compiled_path", None)
    return message[:500] + (f" (query: {compiled})" if compiled and node.failures else "")
