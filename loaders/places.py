"""Where a lakehouse lies: a folder on a disk, or a prefix in a bucket of an object store.

A place makes the addresses of its tables by ``/``, whichever it is, and ``str`` of one is what
delta-rs, the embedded engine and Spark open. What opens a store (endpoint, region, key) is in no
address and in no option: each of them takes it from the environment's ``AWS_…`` variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from loaders.errors import UserError

SCHEME = "s3"
# What a bucket may be called, and a prefix: a URI ends up in SQL and in the names of folders.
_ADDRESS = re.compile(r"[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9_.=-]+)*")


@dataclass(frozen=True, order=True)
class Store:
    """A prefix in a bucket, as in ``s3://bucket/prefix``."""

    uri: str

    def __truediv__(self, name: str) -> Store:
        return Store(f"{self.uri}/{name}")

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        """The last part of it."""
        return self.uri.rpartition("/")[2]

    @property
    def below_scheme(self) -> str:
        """Bucket and prefix: ``bucket/prefix``."""
        return self.uri.partition("://")[2]


Place: TypeAlias = Path | Store


def is_uri(text: str) -> bool:
    """True for an address that is no path."""
    return "://" in text


def place_of(text: str | Path) -> Place:
    """The place that a path or a URI names; a relative path is the working directory's.

    :class:`UserError` for a URI that is not one of a bucket.

    >>> str(place_of("s3://shop/lake/")), str(place_of("s3://shop/lake") / "gold" / "x")
    ('s3://shop/lake', 's3://shop/lake/gold/x')
    >>> place_of("/srv/lake")
    PosixPath('/srv/lake')
    """
    if isinstance(text, Path) or not is_uri(text):
        return Path(text).resolve()
    scheme, _, address = text.rstrip("/").partition("://")
    parts = address.split("/")
    if scheme != SCHEME or not _ADDRESS.fullmatch(address) or {".", ".."} & set(parts):
        raise UserError(
            f"{text!r} is no lakehouse; give a folder, or s3://BUCKET/PREFIX of letters, digits "
            f"and . _ = -"
        )
    return Store(f"{scheme}://{address}")
