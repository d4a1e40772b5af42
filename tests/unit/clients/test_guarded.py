"""Addresses behind names: where clouds keep credentials is never asked, this machine only by its own name."""

from __future__ import annotations

import pytest

from taut.clients.guarded import GuardedResolver, address_of, allowed, forbidden, is_local


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
    ],
)
def test_metadata_is_never_asked(host: str) -> None:
    address = address_of(host)
    assert address is not None
    assert forbidden(address)
    bracketed = f"[{host}]" if ":" in host and "[" not in host else host
    assert not allowed(["*", host], f"http://{bracketed.partition('%')[0]}{']' if '%' in host else ''}/")


def test_names_of_clouds() -> None:
    assert not allowed(["*"], "http://metadata.google.internal/")
    assert not allowed(["*"], "http://instance-data/latest")
    assert allowed(["*"], "https://vault.example.com")


def test_this_machine_has_to_be_named() -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "vault.localhost"):
        assert is_local(host)
        assert not allowed(["*"], f"http://{host}/")
    assert allowed(["*", "127.0.0.1"], "http://127.0.0.1:8200/")
    assert not is_local("example.com")


async def test_a_name_that_leads_to_this_machine_is_refused() -> None:
    resolver = GuardedResolver()
    assert await resolver.resolve("localhost", 80)
    for name in ("2130706433", "127.0.0.2"):
        with pytest.raises(OSError, match="not asked"):
            await resolver.resolve(name if not name.startswith("127") else "0x7f000002", 80)
    await resolver.close()
