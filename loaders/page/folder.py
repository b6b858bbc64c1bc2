"""The page's folder: a reader never sees half of a file, nor half of a page.

A data file is named after its content and never changes; ``data/now.js``, put there last and by
rename, names the files of one moment. So whoever has read it finds all of that moment, whatever is
written meanwhile, and what has not changed since is not written again.
"""

from __future__ import annotations

import hashlib
import os
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from loaders.errors import UserError
from loaders.failpoints import reach
from loaders.files import write_atomically
from loaders.page.encode import body, script, wrapped

ASSETS = Path(__file__).parent / "assets"
MARK = 'name="generator" content="pos page"'
INDEX = "index.html"
NOW = "now"
# Somebody who has just read the names of an earlier moment gets its files for so long. The page
# asks anew for those of the latest moment where one is gone.
KEEP_SECONDS = 60.0


class PageFolder:
    """Writes one page. Raises ``OSError`` where the disk does, :class:`UserError` where the folder
    holds something that is not a page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = 0
        self.bytes = 0
        self.files_written = 0
        self._referenced: set[Path] = set()

    @cached_property
    def assets_digest(self) -> str:
        """Changes when the page's own program does: an open page then loads itself anew."""
        digest = hashlib.blake2b(digest_size=5)
        for path in _assets():
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Put the page's own files there, unless they are."""
        index = self.path / INDEX
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is not a folder; name another with --out")
        if index.exists() and MARK not in index.read_text(errors="replace"):
            raise UserError(f"{self.path} holds another page; name another folder with --out")
        if not index.exists() and self._holds_other_things():
            raise UserError(
                f"{self.path} is not empty and holds no inventory page; name another folder "
                f"with --out"
            )
        for asset in _assets():
            if asset.name != INDEX:
                self._put_unless_same(
                    self.path / "assets" / asset.relative_to(ASSETS), asset.read_bytes()
                )
        html = (ASSETS / INDEX).read_text().replace("{{assets}}", self.assets_digest)
        self._put_unless_same(index, html.encode())

    def _holds_other_things(self) -> bool:
        """True unless the folder is empty or new, or a kill has left it half written."""
        if not self.path.is_dir():
            return False
        own = ("assets", "data")
        return any(
            path.name not in own and not path.name.endswith(".tmp") for path in self.path.iterdir()
        )

    def put(self, kind: str, number: int, payload: dict[str, Any]) -> str:
        """Put one data file there, unless it is; returns what tells it from others of its name."""
        data = body(payload)
        digest = hashlib.blake2b(data, digest_size=5).hexdigest()
        key = f"{kind}/{number:04d}.{digest}"
        path = self.path / "data" / f"{key}.js"
        try:
            os.utime(path)  # when it was last named, for the sweep
        except FileNotFoundError:
            reach("page.before_data")
            write_atomically(path, wrapped(key, data), durable=False)
            self.files_written += 1
        self._name(path)
        return digest

    def reuse(self, kind: str, number: int, digest: str) -> None:
        """Go on naming a file that an earlier page has put there; ``FileNotFoundError`` if it is
        gone."""
        path = self.path / "data" / kind / f"{number:04d}.{digest}.js"
        os.utime(path)
        self._name(path)

    def _name(self, path: Path) -> None:
        self._referenced.add(path)
        self.bytes += path.stat().st_size
        self.files += 1

    def publish(self, manifest: dict[str, Any]) -> None:
        """Name the files of this moment; from here on it is what a reader sees."""
        data = script(NOW, {**manifest, "assets": self.assets_digest})
        reach("page.before_publish")
        write_atomically(self.path / "data" / f"{NOW}.js", data, durable=False)
        self.files += 1
        self.bytes += len(data)
        self.files_written += 1

    def sweep(self) -> None:
        """Remove data files that no page has named for a while."""
        reach("page.before_sweep")
        before = time.time() - KEEP_SECONDS
        for path in (self.path / "data").rglob("*"):
            if path in self._referenced or path.name == f"{NOW}.js" or path.is_dir():
                continue
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    @staticmethod
    def _put_unless_same(path: Path, data: bytes) -> None:
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data, durable=False)


def _assets() -> list[Path]:
    return sorted(path for path in ASSETS.rglob("*") if path.is_file() and path.suffix != ".md")
