"""The client library, if it is there, and what all its users set alike."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from loaders.errors import UserError

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

# A count of 100,000 items is 4.5 MB of text, and comes as one message.
MOST_BYTES = 32 * 1024 * 1024


def require_client() -> None:
    """:class:`UserError` where the client library is not installed."""
    try:
        import confluent_kafka  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"Kafka's client is not installed ({error}); run: make setup, or: pip install "
            f"'pos-lakehouse[kafka]'"
        ) from error


def common(servers: str) -> dict[str, Any]:
    """What each client is told. Its own log goes nowhere: what matters is in its errors."""
    logger = logging.getLogger("loaders.kafka.client")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return {"bootstrap.servers": servers, "logger": logger}


def admin_of(servers: str) -> AdminClient:
    """A client that asks and makes topics."""
    require_client()
    from confluent_kafka.admin import AdminClient

    return AdminClient(common(servers))
