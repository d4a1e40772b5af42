"""Shamir's secret sharing over GF(2^8), as sops has it from HashiCorp Vault: a share is the values, and its x as the last byte."""

from __future__ import annotations

import secrets
from collections.abc import Sequence


def _tables() -> tuple[list[int], list[int]]:
    exponents, logarithms, value = [0] * 512, [0] * 256, 1
    for power in range(255):
        exponents[power] = exponents[power + 255] = value
        logarithms[value] = power
        value ^= (value << 1) ^ (0x11B if value & 0x80 else 0)
        value &= 0xFF
    return exponents, logarithms


_EXP, _LOG = _tables()


def _mul(a: int, b: int) -> int:
    return 0 if not a or not b else _EXP[_LOG[a] + _LOG[b]]


def _div(a: int, b: int) -> int:
    return 0 if not a else _EXP[_LOG[a] - _LOG[b] + 255]


def split(secret: bytes, parts: int, threshold: int) -> list[bytes]:
    """`parts` shares of which any `threshold` give the secret. Raises ValueError for numbers outside of 2 to 255."""
    if not 2 <= threshold <= parts <= 255 or not secret:
        raise ValueError("the threshold has to be between 2 and the number of parts, and those at most 255")
    xs = secrets.SystemRandom().sample(range(1, 256), parts)
    shares = [bytearray() for _ in xs]
    for byte in secret:
        coefficients = [byte, *secrets.token_bytes(threshold - 1)]
        for x, share in zip(xs, shares, strict=True):
            value = 0
            for coefficient in reversed(coefficients):
                value = _mul(value, x) ^ coefficient
            share.append(value)
    return [bytes(share) + bytes([x]) for x, share in zip(xs, shares, strict=True)]


def combine(shares: Sequence[bytes]) -> bytes:
    """The secret of enough shares. Raises ValueError for shares that do not go together."""
    xs = [share[-1] for share in shares if share]
    if len(shares) < 2 or len(set(xs)) != len(shares) or len({len(s) for s in shares}) != 1 or 0 in xs:
        raise ValueError("the parts do not go together")
    result = bytearray()
    for position in range(len(shares[0]) - 1):
        value = 0
        for i, share in enumerate(shares):
            term = share[position]
            for j, x in enumerate(xs):
                if i != j:
                    term = _mul(term, _div(x, x ^ xs[i]))
            value ^= term
        result.append(value)
    return bytes(result)
