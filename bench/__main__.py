"""`python -m bench`: measure taut beside the floor, compare two results, hold a result against the targets.

usage: python -m bench [run] [--sets kustomize,helm] [--sizes 100,500,1000,2000] [--rest SECONDS] [--policies] [--json FILE]
       python -m bench targets [--policies] [--from FILE]         measure what the targets are about, and exit with 1 when one is missed
       python -m bench compare OLD NEW
       python -m bench chart RESULT SVG              draw how one commit's cost grows
       python -m bench admission [--policies N] [--matching N] [--rate N] [--seconds N] [--json [FILE]]
       python -m bench page [--applications N] [--json [FILE]]     what the page costs; exits with 1 when an aim is missed
       python -m bench profile SIZE                  what a cold sync spends its time on, by py-spy
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from bench import admission, chart, page, profile, published, report, targets
from bench.measure import Bench

FOLDER = Path(__file__).parent.parent / ".bench"
_REST = 60.0


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def _print(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


def _measure(sizes: Mapping[str, Sequence[int]], file: Path, rest: float, *, policies: bool) -> list[dict[str, Any]]:
    """Measure, and keep what there is after each size: a long run that is stopped has not been for nothing."""
    results: list[dict[str, Any]] = []
    file.parent.mkdir(parents=True, exist_ok=True)
    for kind, counts in sizes.items():
        for count in counts:
            bench = Bench(FOLDER / f"{kind}-{count}", kind, count, _say, policies=policies)
            results.append(bench.run(rest=rest).as_json())
            file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    _say(f"written to {file}")
    return results


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        return orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        sys.exit(f"bench: {file} is no result: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="Measure taut beside the floor of this machine.")
    commands = parser.add_subparsers(dest="command")
    run = commands.add_parser("run", help="measure, print a table, write JSON (the default)")
    run.add_argument("--sets", default="kustomize,helm")
    run.add_argument("--sizes", default="100,500,1000,2000")
    held = commands.add_parser("targets", help="hold taut against its targets; exits with 1 when one is missed")
    held.add_argument("--from", dest="source", type=Path, help="a result that was measured before")
    for each in (run, held):
        each.add_argument("--rest", type=float, default=_REST, help="how many seconds to look at taut at rest")
        each.add_argument("--json", type=Path, default=FOLDER / "result.json")
        each.add_argument("--policies", action="store_true", help="with twenty policies that complete and judge")
    compare = commands.add_parser("compare", help="two results side by side")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    drawn = commands.add_parser("chart", help="draw how the cost of one commit grows")
    drawn.add_argument("result", type=Path)
    drawn.add_argument("svg", type=Path)
    asked = commands.add_parser("admission", help="what a question at admission costs")
    asked.add_argument("--policies", type=int, default=100)
    asked.add_argument("--matching", type=int, default=20, help="how many of them are about Pods")
    asked.add_argument("--rate", type=float, default=50.0, help="questions a second")
    asked.add_argument("--seconds", type=float, default=30.0)
    asked.add_argument("--json", nargs="?", const="-", help="as JSON, into a file if one is named")
    paged = commands.add_parser("page", help="what the page costs; exits with 1 when an aim is missed")
    paged.add_argument("--applications", type=int, default=5000)
    paged.add_argument("--json", nargs="?", const="-", help="as JSON, into a file if one is named")
    spied = commands.add_parser("profile", help="what a cold sync spends its time on")
    spied.add_argument("size", type=int)
    return parser


def _admission(chosen: argparse.Namespace) -> None:
    result = admission.measure(chosen.policies, chosen.matching, chosen.rate, chosen.seconds, _say)
    if chosen.json is None:
        _print([*admission.table(result), "", *published.table()])
    elif chosen.json == "-":
        _print([admission.as_json(result).decode()])
    else:
        Path(chosen.json).write_bytes(admission.as_json(result) + b"\n")


def _page(chosen: argparse.Namespace) -> int:
    result = page.measure(chosen.applications, _say)
    if chosen.json is None:
        _print(page.table(result))
    elif chosen.json == "-":
        _print([page.as_json(result).decode()])
    else:
        Path(chosen.json).write_bytes(page.as_json(result) + b"\n")
    return 0 if page.met(result) else 1


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0, or 1 when a target was missed."""
    known = {"run", "targets", "compare", "chart", "profile", "admission", "page", "-h", "--help"}
    chosen = _parser().parse_args(arguments if arguments and arguments[0] in known else ["run", *arguments])
    match chosen.command:
        case "compare":
            _print(report.comparison(_read(chosen.old), _read(chosen.new)))
        case "chart":
            chosen.svg.write_text(chart.growth(_read(chosen.result)))
        case "profile":
            _print(profile.cold(FOLDER / "profile", chosen.size, _say))
        case "admission":
            _admission(chosen)
        case "page":
            return _page(chosen)
        case "targets":
            results = (
                _read(chosen.source)
                if chosen.source
                else _measure(targets.SIZES, chosen.json, chosen.rest, policies=chosen.policies)
            )
            found = targets.verdicts(results)
            _print([*report.table(results), *targets.table(found)])
            return 0 if all(v.met for v in found) else 1
        case _:
            sizes = [int(size) for size in chosen.sizes.split(",")]
            sets = dict.fromkeys(chosen.sets.split(","), sizes)
            _print(report.table(_measure(sets, chosen.json, chosen.rest, policies=chosen.policies)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
