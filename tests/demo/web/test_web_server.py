"""What the server gives, to whom, and what it refuses."""

import http.client
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from web_samples import serving

from demo.web.server import SiteServer
from demo.web.site import HEADERS, Site
from export.system.errors import UsageError

FILES = {
    "index.html": b"<!doctype html>",
    "app.js": b"export {};",
    "onnxruntime/runtime.wasm": b"\0asm",
    "model.onnx": b"model",
}


@pytest.fixture(scope="module")
def url():
    with serving(Site(FILES)) as url:
        yield url


@pytest.fixture
def ask(url):
    """Send a request exactly as it is written: ask("GET", "/../x") -> (status, headers, body)."""

    def send(method, path, **headers):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        with closing(connection):
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    return send


@pytest.mark.parametrize(
    ("path", "file", "kind"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/index.html?x=1", "index.html", "text/html; charset=utf-8"),
        ("/app.js", "app.js", "text/javascript; charset=utf-8"),
        ("/onnxruntime/runtime.wasm", "onnxruntime/runtime.wasm", "application/wasm"),
        ("/model.onnx", "model.onnx", "application/octet-stream"),
    ],
)
def test_files(ask, path, file, kind):
    status, headers, body = ask("GET", path)
    assert (status, headers["Content-Type"], body) == (200, kind, FILES[file])


def test_head_is_get_without_the_contents(ask):
    status, headers, body = ask("HEAD", "/app.js")
    assert (status, headers["Content-Length"], body) == (200, str(len(FILES["app.js"])), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/server.py",
        "/../server.py",
        "/onnxruntime/../../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "//etc/passwd",
        "/onnxruntime/",
        "/onnxruntime",
        "/app.js%00.html",
        "/..\\server.py",
    ],
)
def test_nothing_else_that_lies_on_the_disk(ask, path):
    status, headers, _ = ask("GET", path)
    assert status == 404
    assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "X"])
def test_other_methods(ask, method):
    assert ask(method, "/")[0] == 501


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 421), ("127.0.0.1:1", 421), ("", 421), (None, 200)]
)
def test_other_names_for_this_machine(ask, url, host, status):
    name = host if host is not None else urlsplit(url).netloc.replace("127.0.0.1", "localhost")
    assert ask("GET", "/", Host=name)[0] == status


def test_headers_are_strict(ask):
    _, headers, _ = ask("GET", "/")
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"
    policy = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self' 'wasm-unsafe-eval'"
    sources = {source for listed in policy.values() for source in listed.split()}
    assert sources == {"'self'", "'none'", "blob:", "'wasm-unsafe-eval'"}
    assert "Python" not in headers["Server"]


def test_only_this_machine(url):
    with SiteServer(Site(FILES), 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken(url):
    port = urlsplit(url).port
    with pytest.raises(UsageError, match=f"port {port} cannot be taken .*another --port"):
        SiteServer(Site(FILES), port)
