"""For detect-secrets, which does not know it: a personal access token of Databricks."""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class DatabricksTokenDetector(RegexBasedDetector):
    """``dapi`` and 32 hexadecimal digits, sometimes with a number behind."""

    secret_type = "Databricks Token"  # pragma: allowlist secret
    denylist = (re.compile(r"\bdapi[0-9a-f]{32}(?:-\d)?\b"),)
