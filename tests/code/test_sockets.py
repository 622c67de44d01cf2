"""Listening on a port, and the sentence where that is impossible."""

import pytest

from jabert.errors import JabertError
from jabert.sockets import listen


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
