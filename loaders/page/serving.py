"""The page on loopback, for a browser or a phone's emulator: files and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from deltalake.exceptions import DeltaError

from loaders.config import Settings
from loaders.errors import UserError, first_line
from loaders.page.folder import NOW
from loaders.page.gold import Versions, quiet_versions, versions_of
from loaders.page.writing import PageWriter
from loaders.web import Handler, server_of


def serve_page(
    settings: Settings,
    out: Path,
    port: int,
    every: float,
    say: Callable[[str], None],
    stop: threading.Event,
) -> None:
    """Serve the page until stopped, and write it anew when gold has changed, at most so often.

    Where another process writes it already, as beside ``pos run --page``, it is only served.
    """
    with ExitStack() as stack:
        writer = PageWriter(settings.lakehouse, out, every)
        written: Versions = {}
        try:
            stack.enter_context(writer.alone())
        except UserError as error:
            if not (out / "data" / f"{NOW}.js").exists():
                raise
            say(f"served as it is: {error}")
            is_writer = False
        else:
            is_writer = True
            written = quiet_versions(settings.lakehouse)
            say(str(writer.write(written)))
        server = server_of(out, port, "name another: pos page --serve PORT", _Handler)
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, name="page", daemon=True)
        thread.start()
        stack.callback(server.shutdown)
        say(f"http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C stops it)")
        said = ""
        while not stop.wait(every):
            if not is_writer or versions_of(settings.lakehouse) == written:
                continue
            try:
                written = quiet_versions(settings.lakehouse)
                writer.write(written)
                said = ""
            except (UserError, OSError, DeltaError) as error:
                what = f"the inventory page in {out} cannot be written: {first_line(error)}"
                if what != said:
                    say(what)
                said, written = what, {}


class _Handler(Handler):
    """Files of the page; no listings, nothing hidden, and only for a browser on this machine."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> BytesIO | BinaryIO | None:
        # Another site's name that was made to point here must not read the page.
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost"):
            self.send_error(421, "asked for another host")
            return None
        path = Path(self.translate_path(self.path))
        parts = path.relative_to(self.directory).parts
        if any(part.startswith(".") for part in parts) or (parts and path.is_dir()):
            self.send_error(404)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        # A data file's name tells its content; the others may change any time.
        name = self.path.partition("?")[0]
        is_fixed = name.startswith("/data/") and name.count("/") == 3
        self.send_header("Cache-Control", "max-age=86400, immutable" if is_fixed else "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        super().end_headers()
