"""What `make docs` serves: loopback only, and a sentence where it cannot."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.request import urlopen

import pytest

from loaders.docs import INDEX, site_server
from loaders.errors import UserError


def test_it_is_served_on_loopback_and_a_taken_port_is_said(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text("the site")
    with site_server(tmp_path, 0) as server:
        host, port = server.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"the site"
        with pytest.raises(UserError, match=f"port {port} .* make docs DOCS_PORT={port + 1}"):
            site_server(tmp_path, port)
        server.shutdown()
