"""The webhook's certificates over a year, by a clock that the test moves, and as a real TLS client sees them."""

from __future__ import annotations

import asyncio
import datetime
import ssl

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from taut.admission.certificates import (
    CA_LIFE,
    DAY,
    LEAF_LIFE,
    OVERLAP,
    Certificates,
    decoded,
    encoded,
    load_into,
    next_look,
    renewed,
    server_context,
)

NAMES = ("127.0.0.1", "taut.taut.svc")
START = 1_800_000_000.0


def trusts(bundle: bytes, made: Certificates, now: float, name: str = "taut.taut.svc") -> bool:
    """Whether who trusts `bundle` takes the certificate at `now`."""
    store = Store(x509.load_pem_x509_certificates(bundle))
    when = datetime.datetime.fromtimestamp(now, datetime.UTC)
    verifier = PolicyBuilder().store(store).time(when).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(x509.load_pem_x509_certificate(made.leaf.certificate), [])
    except VerificationError:
        return False
    return True


def test_the_first_ones() -> None:
    made = renewed(None, NAMES, START)
    assert trusts(made.bundle, made, START)
    assert trusts(made.bundle, made, START - 200), "clocks of others are behind"
    assert not trusts(made.bundle, made, START + LEAF_LIFE + 1)
    assert not trusts(made.bundle, made, START, "other.taut.svc")
    assert trusts(made.bundle, made, START, NAMES[1])
    assert renewed(made, NAMES, START + 1) is made


def test_the_leaf_is_renewed_at_two_thirds_of_its_life() -> None:
    made = renewed(None, NAMES, START)
    assert next_look(made) == START + 20 * DAY
    assert renewed(made, NAMES, START + 20 * DAY - 1) is made
    again = renewed(made, NAMES, START + 20 * DAY)
    assert again.leaf != made.leaf
    assert again.bundle == made.bundle
    assert trusts(made.bundle, again, START + 20 * DAY)


def test_other_names_make_another_leaf() -> None:
    made = renewed(None, NAMES, START)
    again = renewed(made, ("other.taut.svc",), START + 1)
    assert again.authorities == made.authorities
    assert trusts(made.bundle, again, START + 1, "other.taut.svc")


def test_two_years_without_a_moment_of_distrust() -> None:
    """Whoever learnt the bundle within the last hour trusts what is served, at every step that taut takes."""
    now, made = START, renewed(None, NAMES, START)
    history = [(now, made)]
    leaves, authorities, widest = {made.leaf.certificate}, {made.bundle}, 1
    while now < START + 2 * CA_LIFE:
        now = max(next_look(made), now + 1)
        made = renewed(made, NAMES, now)
        known = next(m for at, m in reversed(history) if at <= now - OVERLAP or m is history[0][1])
        assert trusts(known.bundle, made, now), f"day {(now - START) / DAY:.1f}"
        assert trusts(made.bundle, history[-1][1], now), "who still has the last certificate is served by it"
        history.append((now, made))
        leaves.add(made.leaf.certificate)
        authorities |= {a.certificate for a in made.authorities}
        widest = max(widest, len(made.authorities))
    assert 36 <= len(leaves) <= 40
    assert len(authorities) >= 3
    assert widest == 2
    assert len(history) < 60, "it is looked at when something is due, and not more often"


def test_a_ca_is_in_the_bundle_before_it_signs() -> None:
    made = renewed(None, NAMES, START)
    day = START + CA_LIFE * 2 / 3
    current = made
    while current.leaf.renew_at < day:
        current = renewed(current, NAMES, current.leaf.renew_at)
    both = renewed(current, NAMES, day)
    assert len(both.authorities) == 2
    assert both.leaf == current.leaf
    assert trusts(current.bundle, both, day)
    early = renewed(both, (*NAMES, "other"), day + OVERLAP - 1)
    assert trusts(current.bundle, early, day + OVERLAP), "who has not heard of the new CA is served by the old one"
    later = renewed(both, NAMES, both.leaf.renew_at)
    assert later.signer == 1
    assert len(later.authorities) == 2
    assert trusts(both.bundle, later, later.leaf.begins)
    assert not trusts(current.bundle, later, later.leaf.begins), "it is the new CA that signs"
    alone = renewed(later, NAMES, later.leaf.begins + OVERLAP)
    assert len(alone.authorities) == 1
    assert trusts(alone.bundle, later, later.leaf.begins + OVERLAP)


def test_after_a_long_sleep_everything_is_new() -> None:
    made = renewed(None, NAMES, START)
    now = START + 3 * CA_LIFE
    again = renewed(made, NAMES, now)
    assert len(again.authorities) == 1
    assert trusts(again.bundle, again, now)


def test_a_clock_that_was_set_back() -> None:
    made = renewed(None, NAMES, START)
    again = renewed(made, NAMES, START - 10 * DAY)
    assert trusts(again.bundle, again, START - 10 * DAY)


def test_they_are_kept() -> None:
    made = renewed(None, NAMES, START)
    assert decoded(encoded(made)) == made
    for data in (None, b"", b"rubbish", encoded(made)[:-5]):
        assert decoded(data) is None
    assert b"PRIVATE" not in repr(made).encode()


async def test_a_certificate_is_swapped_while_the_listener_stays() -> None:
    import time

    first = renewed(None, ("127.0.0.1",), time.time())
    second = renewed(None, ("127.0.0.1",), time.time())
    context = server_context(first)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.readline():
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    async def connect(trusted: Certificates) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        client = ssl.create_default_context(cadata=trusted.bundle.decode())
        return await asyncio.open_connection("127.0.0.1", port, ssl=client)

    async with server:
        reader, writer = await connect(first)
        load_into(context, second)
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
        _, other = await connect(second)
        assert other.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        other.close()
        try:
            await connect(first)
            raise AssertionError("the old certificate is still served")
        except ssl.SSLCertVerificationError:
            pass
