"""How a server is reached: through the proxy and by the authorities that the environment names.

The rule is that of every program here, told in ``docs/operate.md``: ``http_proxy``, ``https_proxy``
and ``all_proxy`` but for the hosts of ``no_proxy``, in either case, and ``SSL_CERT_FILE`` or
``SSL_CERT_DIR``. httpx, which the client programs use, has it built in; urllib3 has none of it.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import certifi
import urllib3

from fednas.errors import BadInput

__all__ = ["open_pool", "proxy_for"]

_CONNECTIONS = 16


def open_pool(endpoint: str, *, connect_timeout: float, read_timeout: float) -> urllib3.PoolManager:
    """Connections to one server, for several threads; it neither retries nor follows redirects.

    Raises
    ------
    BadInput
        A variable of the environment that names no proxy or no certificates.
    """
    proxy = proxy_for(endpoint)
    encrypted = "https" in (urlsplit(endpoint).scheme, urlsplit(proxy or "").scheme)
    # Loading the authorities takes a while: only where somebody is checked by them.
    context = _authorities(os.environ) if encrypted else None
    timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
    if proxy is None:
        return urllib3.PoolManager(
            timeout=timeout, maxsize=_CONNECTIONS, retries=False, ssl_context=context
        )
    user = urlsplit(proxy)
    headers = None
    if user.username is not None:
        who = f"{unquote(user.username)}:{unquote(user.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=who)
    return urllib3.ProxyManager(
        f"{user.scheme}://{user.netloc.rpartition('@')[2]}",
        proxy_headers=headers,
        proxy_ssl_context=context,
        timeout=timeout,
        maxsize=_CONNECTIONS,
        retries=False,
        ssl_context=context,
    )


def proxy_for(endpoint: str) -> str | None:
    """The proxy's URL for a server, or None where it is spoken to directly.

    Parameters
    ----------
    endpoint : str
        ``http://host:9000``.

    Raises
    ------
    BadInput
        The variable does not name an HTTP proxy.
    """
    server, proxies = urlsplit(endpoint), urllib.request.getproxies()
    name = server.scheme if proxies.get(server.scheme) else "all"
    proxy = proxies.get(name)
    host = server.hostname or ""
    # With the port, as no_proxy may name it, and bare, as it names an IPv6 address.
    if not proxy or urllib.request.proxy_bypass(server.netloc) or urllib.request.proxy_bypass(host):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(proxy)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        right = False
    if not right:
        # Without what it is set to: it may hold a password.
        raise BadInput(f"{name}_proxy: is no HTTP proxy; must be like http://proxy:3128")
    return proxy


def _authorities(env: Mapping[str, str]) -> ssl.SSLContext:
    file, folder = env.get("SSL_CERT_FILE"), env.get("SSL_CERT_DIR")
    try:
        if file or not folder:
            return ssl.create_default_context(cafile=file or certifi.where())
        return ssl.create_default_context(capath=folder)
    except OSError as error:
        raise BadInput(
            f"SSL_CERT_FILE: {file}: cannot be read ({error.strerror or error}); must be a file of "
            "certificates in PEM"
        ) from None
