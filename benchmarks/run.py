"""Compare with `transformers`, in one process, with the same weights and threads.

python benchmarks/run.py [--quick] [--only encode decode automatic] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import automatic
import decode
import encode
from models import all_forms
from report import machine, table, write_json


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, an 8x8 grid")
    parser.add_argument(
        "--only", nargs="+", choices=["encode", "decode", "automatic"], help="not all parts"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    start = time.perf_counter()
    here = machine()
    print(json.dumps(here, indent=2), flush=True)
    theirs, ours = all_forms()
    repeats = 1 if args.quick else 3
    parts = {
        "encode": lambda: encode.figures(theirs, ours, repeats),
        "decode": lambda: decode.figures(theirs, ours, repeats),
        "automatic": lambda: automatic.figures(theirs, ours, 8 if args.quick else 32),
    }
    figures = []
    for name in args.only or parts:
        figures += parts[name]()
        print(f"{name}: done after {time.perf_counter() - start:.0f} s", flush=True)
        if args.json:  # after each part, so that an interrupted run leaves what it has
            write_json(args.json, figures, here)
    print(table(figures))


if __name__ == "__main__":
    main()
