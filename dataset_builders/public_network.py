"""Connections to the public internet only, for addresses that strangers wrote."""

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import anyio
import httpcore

GLOBAL_UNICAST = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")  # how networks without IPv4 write its addresses


class PrivateAddress(Exception):
    """A host that leads into a private network, or to this machine."""


def is_public(address: str) -> bool:
    """Whether an IP address, such as ``8.8.8.8`` or ``2001:4860::8888``, belongs to the internet.

    Not so are those that IANA's registries reserve: private, loopback, link-local, shared,
    multicast, documentation; nor IPv6 addresses that stand for such an IPv4 address.
    """
    ip = ip_address(address.partition("%")[0])  # behind it, the interface of a link-local address
    if isinstance(ip, IPv6Address):
        mapped = ip.ipv4_mapped or (IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in NAT64 else None)
        if mapped is None and ip not in GLOBAL_UNICAST:
            return False
        ip = mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast


class PublicNetwork(httpcore.AnyIOBackend):
    """Looks a host up once, and connects to the very IP address that was found good.

    A name that gives another address when it is asked again gains nothing by it. Names of hosts in
    requests and certificates stay as they are. Redirects pass here too, by their connections.

    Args:
        timeout: seconds to find a host, and again to reach it.
        private_addresses: whether all other addresses are good as well.
    """

    def __init__(self, timeout: float, private_addresses: bool) -> None:
        self.timeout = timeout
        self.private_addresses = private_addresses

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of a host's addresses that may be used and answers.

        Raises:
            PrivateAddress: it has none that may be used.
            socket.gaierror: there is no such host, or no network.
            httpcore.ConnectError, httpcore.ConnectTimeout: none answers.
        """
        try:
            with anyio.fail_after(self.timeout):
                loop = asyncio.get_running_loop()
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} was not found in time") from error
        addresses = dict.fromkeys(str(socket_address[0]) for *_, socket_address in found)
        failure: Exception = PrivateAddress(host)
        for address in addresses:
            if not (self.private_addresses or is_public(address)):
                continue
            try:
                return await super().connect_tcp(
                    address, port, self.timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure
