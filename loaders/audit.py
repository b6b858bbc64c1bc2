"""Known vulnerabilities of all wheels that the lock pins, asked of OSV by pip-audit.

Apart from lint, because it asks the network: where that cannot be reached it says so and fails,
since nothing was checked. Jars are not asked about. A tool of development:
``python -m loaders.audit``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from loaders.errors import UserError

# Where pip-audit says in a traceback that it got no answer.
NO_ANSWER = ("ConnectionError", "Timeout", "NameResolutionError", "ServiceError")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def audit(lock: Path, run: Run = subprocess.run) -> str:
    """What pip-audit says of a clean lock; :class:`UserError` for anything else."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv"),
        *("--requirement", str(lock), "--require-hashes", "--disable-pip"),
        *("--progress-spinner", "off", "--timeout", "15"),
    ]
    done = run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return (done.stdout + done.stderr).strip()
    if any(word in done.stderr for word in NO_ANSWER):
        raise UserError(
            "nothing was checked: OSV, the database of vulnerabilities, cannot be reached from "
            "here; run this where there is a network"
        )
    raise UserError(f"pip-audit found something:\n{(done.stdout + done.stderr).strip()[-4000:]}")


if __name__ == "__main__":
    import click

    try:
        click.echo(audit(Path(__file__).resolve().parent.parent / "requirements.lock"))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
