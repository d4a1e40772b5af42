"""How the cost of one commit grows with the size of the fleet, as a small SVG. Pure: results in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.report import Result, number

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 640, 300, 60, 48, 150, 44
_LINES = (
    ("live after", "seconds", "#2563eb"),
    ("CPU of taut", "cpu", "#0f766e"),
)


def growth(results: Sequence[Result], kind: str = "kustomize") -> str:
    """One line for the latency and one for the CPU time of a commit that touches one application; sizes along the bottom."""
    sizes = sorted((r for r in results if r["kind"] == kind), key=lambda r: r["applications"])
    lines = [(title, [number(r, "commit", name) or 0.0 for r in sizes], colour) for title, name, colour in _LINES]
    most = max((value for _, values, _ in lines for value in values), default=0.0)
    top = max(0.3, 0.1 * (int(most * 10) + 1))
    largest = max((int(r["applications"]) for r in sizes), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" fill="#111827">One commit that touches one application, by the size of the fleet</text>',
    ]
    for step in range(4):
        value = top * step / 3
        y = _y(value, top)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#6b7280">{value:.2f} s</text>')
    for result in sizes:
        count = int(result["applications"])
        x = _x(count, largest)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 16}" text-anchor="middle" fill="#6b7280">{count:,}</text>')
    for title, values, colour in lines:
        points = [(_x(int(r["applications"]), largest), _y(v, top)) for r, v in zip(sizes, values, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        if points:
            x, y = points[-1]
            parts.append(f'<text x="{x + 10:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(title)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(count: int, largest: int) -> float:
    return _LEFT + 20 + (_WIDTH - _LEFT - _RIGHT - 20) * count / largest


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top
