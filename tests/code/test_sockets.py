"""Listening on a port, the sentence where that is impossible, and no proxy before this machine."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from jabert.errors import JabertError
from jabert.sockets import listen, reach_directly


def test_a_port_is_free_again_when_its_socket_is_closed():
    with listen("127.0.0.1", 0, "give another") as first:
        port = first.getsockname()[1]
        with pytest.raises(JabertError) as error:
            listen("127.0.0.1", port, "give another")
    assert str(error.value) == f"127.0.0.1 port {port} cannot be used (Address already in use); give another"
    listen("127.0.0.1", str(port), "give another").close()


@pytest.mark.parametrize("port", ["many", 65_536, -1])
def test_what_is_no_port_is_named(port):
    with pytest.raises(JabertError, match=rf"^127\.0\.0\.1 port {port} cannot be used \(.+\); give another$"):
        listen("127.0.0.1", port, "give another")


CLIENTS = """
import sys, urllib.request
from jabert.sockets import reach_directly
reach_directly()
import httpx, requests
for url in sys.argv[1:]:
    print(requests.get(url).text, httpx.get(url).text, urllib.request.urlopen(url).read().decode())
"""


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"itself" if self.path == "/here" else b"proxy"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def here():
    """A server that knows whether it is asked as itself, or as a proxy."""
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "excepted"),
    [
        ("HTTP_PROXY", {"NO_PROXY": "example.com", "no_proxy": ""}),
        ("http_proxy", {}),
        ("ALL_PROXY", {"no_proxy": "*"}),
        ("all_proxy", {"no_proxy": "example.com"}),
    ],
)
def test_no_proxy_stands_between_a_client_and_this_machine(here, name, excepted):
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = {**kept, name: f"http://127.0.0.1:{here}", **excepted}
    urls = [f"http://{host}:{here}/here" for host in ("127.0.0.1", "localhost")]
    command = [sys.executable, "-c", CLIENTS, *urls]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("itself itself itself\n" * 2, 0), done.stderr


def test_a_client_starts_where_all_traffic_is_meant_for_socks(here):
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    environment = {**kept, "ALL_PROXY": "socks5://127.0.0.1:9"}
    command = [sys.executable, "-c", CLIENTS, f"http://127.0.0.1:{here}/here"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "itself itself itself\n", done.stderr


def test_other_hosts_are_still_reached_through_the_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    reach_directly()
    assert "no_proxy" not in os.environ, "without a proxy nothing is changed"
    monkeypatch.setenv("https_proxy", "http://proxy:8080")
    monkeypatch.setenv("NO_PROXY", "intern.example, .local")
    monkeypatch.setenv("no_proxy", "")
    reach_directly("192.0.2.7")
    expected = "intern.example,.local,localhost,127.0.0.1,::1,192.0.2.7"
    assert (os.environ["NO_PROXY"], os.environ["no_proxy"]) == (expected, expected)
    reach_directly()
    assert os.environ["no_proxy"] == expected
