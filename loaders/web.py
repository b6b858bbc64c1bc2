"""Folders on loopback, for a browser on this machine: the docs site and the inventory page."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from loaders.errors import UserError


class Handler(SimpleHTTPRequestHandler):
    """Files of a folder, without a word to the terminal."""

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads a line for each request."""

    def handle_one_request(self) -> None:
        """One request; whoever has left before the end of the answer does not want it."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True


def server_of(
    folder: Path, port: int, advice: str, handler: type[Handler] = Handler
) -> ThreadingHTTPServer:
    """A server of ``folder`` on loopback, not yet serving; :class:`UserError` with the advice where
    the port cannot be had."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(handler, directory=str(folder)))
    except OSError as error:
        raise UserError(
            f"port {port} cannot be listened on ({error.strerror or error}); {advice}"
        ) from error
