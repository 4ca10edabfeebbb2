"""The page served on this machine, to this machine alone."""

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import PurePosixPath
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

from demo.web.site import HEADERS, INDEX, Site
from export.system.errors import UsageError

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}


class SiteServer(ThreadingTCPServer):
    """A server of one site for browsers on this machine; a context manager.

    Attributes:
        site: what is served: these files, and nothing else that lies on the disk.
        url: where browsers find it.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, site: Site, port: int):
        """Take a port, or with 0 any free one.

        Raises:
            UsageError: it cannot be taken.
        """
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise UsageError(
                f"port {port} cannot be taken ({error.strerror}); give another --port, or 0 for any"
            ) from None
        self.site = site
        port = self.server_address[1]
        self.url = f"http://{ADDRESS}:{port}/"
        self.hosts = {f"{ADDRESS}:{port}", f"localhost:{port}"}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that close a connection, and all else only with --debug."""
        log.debug("request failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: SiteServer
    protocol_version = "HTTP/1.1"
    server_version = "nastool"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        # Other sites can give their name this machine's address; the browser still says the name.
        if self.headers.get("Host") not in self.server.hosts:
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        address = urlsplit(self.path).path.removeprefix("/") or INDEX
        try:
            contents = self.server.site.read(address)
        except KeyError:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        suffix = PurePosixPath(address).suffix
        self.send_header("Content-Type", TYPES.get(suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(contents)))
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(contents)

    do_HEAD = do_GET  # noqa: N815

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        log.debug(format, *arguments)
