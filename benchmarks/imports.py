"""What importing the light half costs above a bare interpreter, in milliseconds.

    python benchmarks/imports.py [--runs 15]

Each round starts three fresh interpreters in turn: bare, with the light half, and with the package
that every one of our users would otherwise wait for, torch. Medians over the rounds. `peer` is the
budget of 60 ms above bare; `ratio` is budget / ours.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUDGET_MS = 60.0
# as installed: modules are compiled once, by the first call, which is not counted
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def light_modules() -> list[str]:
    """The light half: hparam, job where there is one, and the modules beside them."""
    sys.path.insert(0, str(ROOT))
    from seqmodel import light

    return light.modules()


def run_ms(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=ENV)
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    light = "import " + ", ".join(light_modules())
    cases = {"bare": "pass", "light": light, "torch": "import torch"}
    for code in cases.values():
        run_ms(code)
    times = {name: [] for name in cases}
    for _ in range(runs):
        for name, code in cases.items():
            times[name].append(run_ms(code))
    bare, ours, torch = (statistics.median(times[name]) for name in cases)
    for peer, value in (("budget", BUDGET_MS), ("torch", torch - bare)):
        line = {
            "case": "import_light",
            "ours": round(ours - bare, 2),
            "peer": peer,
            "peer_value": round(value, 2),
            "unit": "ms above a bare interpreter",
            "ratio": round(value / (ours - bare), 2),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
