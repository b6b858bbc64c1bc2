"""The process of ``pos s3 up``: the S3 of moto on loopback, in memory, one request at a time.

One at a time because moto looks whether a key is there and puts it in two steps: of 50 writers that
raced for one key, two have won. A store that does so lets one commit of a Delta log be put over
another. Run as a program: ``python -m loaders.s3.emulation PORT BUCKET``.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler, run_simple

from loaders.s3.server import REGION, UNCONDITIONAL

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

COMMIT = re.compile(r"/_delta_log/\d{20}\.json$")


class OneAtATime:
    """An application that is in one request at a time, and says what was put on no condition."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """One request, once the one before is answered."""
        path = environ["PATH_INFO"]
        if (
            environ["REQUEST_METHOD"] == "PUT"
            and COMMIT.search(path)
            and environ.get("HTTP_IF_NONE_MATCH") != "*"
        ):
            sys.stderr.write(f"{UNCONDITIONAL}{path}\n")
        with self._lock:
            return list(self._application(environ, start_response))


def main(port: int, bucket: str) -> None:
    """Serve an empty bucket until this process is ended."""
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(bucket, REGION)
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a build makes thousands of requests
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # which keeps connections open
    run_simple("127.0.0.1", port, application, threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
