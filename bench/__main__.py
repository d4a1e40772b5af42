"""`python -m bench`: measure, and print a table.

usage: python -m bench [--sets kustomize,helm] [--sizes 100,500,1000,2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from bench.measure import Bench

FOLDER = Path(__file__).parent.parent / ".bench"


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure every set at every size."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--sets", default="kustomize,helm")
    parser.add_argument("--sizes", default="100,500,1000,2000")
    parser.add_argument("--rest", type=float, default=60.0)
    parser.add_argument("--json", type=Path, default=FOLDER / "result.json")
    chosen = parser.parse_args()
    found = [
        Bench(FOLDER / f"{kind}-{size}", kind, int(size), _say).run(rest=chosen.rest).as_json()
        for kind in chosen.sets.split(",")
        for size in chosen.sizes.split(",")
    ]
    chosen.json.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
