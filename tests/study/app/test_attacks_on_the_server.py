"""Attacks on a real server, byte for byte: path traversal, slow clients, oversized headers (see `test_attacks.py`)."""

import contextlib
import logging
import socket
import time

import pytest

from histosynth.study.app.state import create_state
from histosynth.web_server import timeouts
from histosynth.web_server.limits import RateLimiter


def logged(study) -> list[str]:
    """Return actor, event and detail of each entry, newest first."""
    return [f"{actor}: {event}: {detail}" for _, actor, event, detail, _ in study.answers.audit_log()]


@pytest.fixture
def port(monkeypatch, request) -> int:
    """The port of a server with short timeouts."""
    monkeypatch.setattr(timeouts, "HEADER_TIMEOUT_S", 1)
    monkeypatch.setattr(timeouts, "_log_limit", RateLimiter(burst=1, per_second=1 / 60))
    monkeypatch.setattr("histosynth.web_server.security.BODY_TIMEOUT_S", 0.4)
    return int(request.getfixturevalue("server").rpartition(":")[2])


def received(connection: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection."""
    connection.settimeout(10)
    data = b""
    while part := connection.recv(65_536):
        data += part
    return data


def test_path_traversal(port, tiny_study) -> None:
    """Paths are sent byte for byte; a client library would normalize them first."""
    static = create_state(tiny_study.database).static
    up = ["..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e", "....//", "..%5c..", "..%c0%af.."]
    paths = [f"{static}/{step}/{step}/errors.py" for step in up]
    paths += [f"{static}/{tail}" for tail in ("/etc/passwd", "%00", "", "a" * 5000)]
    paths += ["/static/", "/../study.db", "//study.db"]
    for path in paths:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            reply = received(raw)
        assert reply.startswith(b"HTTP/1.1 404"), path
        assert b"HistosynthError" not in reply
    assert sum("404 GET" in line for line in logged(tiny_study)) == len(paths)


def test_slow_headers(port, caplog) -> None:
    """Occasional bytes do not keep a connection open, and other clients are served meanwhile."""
    with caplog.at_level(logging.WARNING, "uvicorn.error"), socket.create_connection(("127.0.0.1", port)) as slow:
        began = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
        with pytest.raises(OSError):  # noqa: PT012 - which byte fails depends on the system
            while time.monotonic() - began < 15:
                slow.sendall(b"X-A: b\r\n")
                with socket.create_connection(("127.0.0.1", port)) as other:
                    other.sendall(b"GET /case HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    assert received(other).startswith(b"HTTP/1.1 401")
                time.sleep(0.1)
        assert time.monotonic() - began < 12
    assert "headers incomplete after 1 s" in caplog.text


def test_many_half_open_connections_are_closed_and_do_not_fill_the_log(port, caplog, monkeypatch) -> None:
    monkeypatch.setattr(timeouts, "MAX_OPEN", 5)
    with caplog.at_level(logging.WARNING), contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(40)]
        for connection in connections:
            connection.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"GET /case HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert received(other).startswith(b"HTTP/1.1 401")
    assert sorted(record.getMessage() for record in caplog.records) == [
        "closed a connection of 127.0.0.1: headers incomplete after 1 s",
        "closed a connection of 127.0.0.1: more than 5 connections",
    ]


def test_silent_connections(port) -> None:
    with socket.create_connection(("127.0.0.1", port)) as silent:
        assert received(silent) == b""


def test_slow_bodies(port, tiny_study) -> None:
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"POST /answer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nConnection: close\r\n\r\nsaid=")
        assert received(slow).startswith(b"HTTP/1.1 408")
    assert any("408 POST /answer: body incomplete" in line for line in logged(tiny_study))


def test_a_kept_alive_connection_is_not_slow(port) -> None:
    """A reader may pause between two requests for longer than the header timeout."""
    ask = b"GET /case HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(2):
            connection.sendall(ask)
            time.sleep(1.4)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 401")


def test_oversized_headers(port) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 40_000)
        assert received(connection).startswith(b"HTTP/1.1 400")
