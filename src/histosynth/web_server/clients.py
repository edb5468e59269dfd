"""The client behind a request: its address, its network, and the name of its cookie."""

from fastapi import Request

from histosynth.web_server.limits import network


def client_address(request: Request) -> str:
    """Return the client's IP address."""
    return request.client.host if request.client else ""


def client_network(request: Request) -> str:
    """Return the network of the client, which shares one rate limit."""
    return network(client_address(request))


def cookie_name(request: Request, role: str) -> str:
    """Return the cookie's name; over https it starts with `__Host-`, so that browsers let only this host set it."""
    return f"__Host-{role}" if request.url.scheme == "https" else role
