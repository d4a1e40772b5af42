"""Coverage-guided fuzzing of the same parsers, for whoever has an hour: `make fuzz ARGS="yaml archive --seconds 600"`.

It needs atheris, which is in the dependency group `fuzz`. An input that breaks a parser is written to `corpus/<parser>/`, where the tests replay
it; the inputs that reach new code are kept outside of the repository, in `.cache/fuzz/<parser>/`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
REACHED = HERE.parent.parent / ".cache" / "fuzz"


def main() -> int:
    options = argparse.ArgumentParser(description="Fuzz taut's parsers, guided by coverage.")
    options.add_argument("parsers", nargs="*", help="which; all without a name")
    options.add_argument("--seconds", type=int, default=60, help="how long each")
    options.add_argument("--inside", default="", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    sys.path.insert(0, str(HERE.parent))
    if chosen.inside:
        _inside(chosen.inside, chosen.seconds)
        return 0
    from fuzz.parsers import PARSERS

    unknown = set(chosen.parsers) - PARSERS.keys()
    if unknown:
        options.error(f"there is no parser {', '.join(sorted(unknown))}; there are {', '.join(PARSERS)}")
    return max(_run(name, chosen.seconds) for name in chosen.parsers or PARSERS)


def _run(name: str, seconds: int) -> int:
    """One parser in a process of its own: what breaks it, breaks nothing else."""
    command = [sys.executable, __file__, "--inside", name, "--seconds", str(seconds)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False)
    print(f"{name}: {'holds' if done.returncode == 0 else 'does not hold'}", flush=True)
    return 1 if done.returncode else 0


def _inside(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["taut"]):
        from fuzz.parsers import PARSERS, hold

    from fuzz.kept import CORPUS, kept

    def once(data: bytes) -> None:
        try:
            hold(name, data)
        except BaseException:  # noqa: BLE001 - whatever it is: it is what is looked for
            folder = CORPUS / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)
            traceback.print_exc()
            os._exit(1)

    reached, words = REACHED / name, REACHED / f"{name}.words"
    reached.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate([*PARSERS[name].right, *(f.read_bytes() for f in kept(name))]):
        (reached / f"seed-{number}").write_bytes(data)
    words.write_text("".join(f'"{"".join(f"\\x{b:02x}" for b in w.encode())}"\n' for w in PARSERS[name].words if w))
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=4096", "-verbosity=0"]
    atheris.Setup([name, *limits, f"-dict={words}", f"-artifact_prefix={reached}/hang-", str(reached)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
