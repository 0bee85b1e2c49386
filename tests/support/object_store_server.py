"""An object store on this machine for tests: moto's S3, run by the Python of .venv-s3. Prints its port.

GET /__requests is how many requests of each kind there were since the last such GET. With --no-conditions it ignores
If-None-Match; with --busy N every N-th request is answered with 503.
"""

from __future__ import annotations

import collections
import json
import sys
import threading
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

CONDITION = "HTTP_IF_NONE_MATCH"


class Store:
    """moto, its requests counted; it looks and then writes, so conditional writes are let in one by one."""

    def __init__(self, conditions: bool, busy: int) -> None:
        self.app = DomainDispatcherApplication(create_backend_app)
        self.conditions, self.busy, self.seen = conditions, busy, 0
        self.counts: collections.Counter[str] = collections.Counter()
        self.one, self.counting = threading.Lock(), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/__requests":
            with self.counting:
                body, self.counts = json.dumps(self.counts).encode(), collections.Counter()
            start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
            return [body]
        kind = environ["REQUEST_METHOD"]
        if kind == "GET" and ("list-type" in environ["QUERY_STRING"] or "prefix" in environ["QUERY_STRING"]):
            kind = "LIST"
        if "HTTP_X_AMZ_COPY_SOURCE" in environ:
            kind = "COPY"
        with self.counting:
            self.counts[kind] += 1
            self.seen += 1
            refused = self.busy and self.seen % self.busy == 0
        if refused:
            size = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(size)
            start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", "0")])
            return [b""]
        if not self.conditions:
            environ.pop(CONDITION, None)
        if environ["REQUEST_METHOD"] in ("PUT", "POST") and CONDITION in environ:
            with self.one:
                return list(self.app(environ, start_response))
        return self.app(environ, start_response)


class Quiet(WSGIRequestHandler):
    """Keeps connections, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    options = sys.argv[1:]
    every = int(options[options.index("--busy") + 1]) if "--busy" in options else 0
    store = Store("--no-conditions" not in options, every)
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Quiet)
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()
