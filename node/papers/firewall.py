"""Rules for nftables that let through what a configuration needs, and nothing else of the node."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

from node.papers.facts import Called, Caller, Connections, Listener

_HEAD = """\
#!/usr/sbin/nft -f
# A table of its own: it only takes away, whatever other tables allow; other programs of this machine are not touched.
# Lines with "<address of ...>" are asleep: put the address there and take the # away. What stays asleep is blocked.
table inet imaging_node
delete table inet imaging_node
table inet imaging_node {"""


def rules(found: Connections, *, user: str) -> str:
    """A file for `nft -f`. It can be loaded again after changes.

    user: whom the node's processes run as; only that user's calls are confined
    """
    lines = [_HEAD, *_chain("calls", _calls(found)), "", *_hook("input", _in(found)), ""]
    # Packets that belong to no process have no user: they must not meet the `drop` at the end of `calls`.
    lines += [*_hook("output", [f'meta skuid "{user}" oifname != "lo" jump calls']), "}"]
    return "\n".join(lines) + "\n"


def _chain(name: str, rows: Iterable[str]) -> list[str]:
    return [f"    chain {name} {{", *(f"        {row}" for row in rows), "    }"]


def _hook(name: str, rows: Iterable[str]) -> list[str]:
    return _chain(name, [f"type filter hook {name} priority filter; policy accept;", *rows])


def _in(found: Connections) -> Iterator[str]:
    yield 'iifname "lo" accept'
    for listener in found.listeners:
        if listener.local:
            continue
        if listener.port == 0:
            yield f"# {listener.setting} = 0: the port changes with every start; give it a number"
            continue
        yield f"# {listener.protocol}, {listener.setting}"
        yield from _from(listener, found.callers_of(listener))
        yield f"tcp dport {listener.port} drop"


def _from(listener: Listener, callers: Sequence[Caller]) -> Iterator[str]:
    for caller in callers:
        if not caller.addresses:
            yield f"# ip saddr <address of {caller.name}> tcp dport {listener.port} accept"
        for address in caller.addresses:
            yield f"{_family(address)} saddr {_network(address)} tcp dport {listener.port} accept  # {caller.setting}"


def _calls(found: Connections) -> Iterator[str]:
    yield "ct state established,related accept"
    if found.asks_names:
        yield "meta l4proto { tcp, udp } th dport 53 accept  # DNS: some are called by name"
    for one in found.called:
        if not one.local:
            yield _to(one)
    yield "drop"


def _to(one: Called) -> str:
    if one.is_name:
        return f"# ip daddr <address of {one.host}> tcp dport {one.port} accept  # {one.setting}"
    return f"{_family(one.host)} daddr {one.host} tcp dport {one.port} accept  # {one.setting}"


def _family(address: str) -> str:
    return "ip6" if ipaddress.ip_network(address, strict=False).version == 6 else "ip"


def _network(address: str) -> str:
    """As nftables wants it: without bits behind the prefix, and a single address without one."""
    network = ipaddress.ip_network(address, strict=False)
    return str(network.network_address) if network.num_addresses == 1 else str(network)
