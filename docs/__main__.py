"""Generate the reference pages from the program: `python -m docs`."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

if __name__ == "__main__":
    text = subprocess.run(
        [sys.executable, "-m", "taut.cli.reference"], capture_output=True, text=True, check=True
    ).stdout
    (HERE / "cli.md").write_text(text)
    subprocess.run([sys.executable, str(HERE.parent / "tests" / "hostile" / "table.py")], check=True)
    subprocess.run([sys.executable, "-m", "taut.server.reference", str(HERE)], check=True)
    sys.argv = ["taut.dialects.reference", str(HERE)]
    runpy.run_module("taut.dialects.reference", run_name="__main__")
