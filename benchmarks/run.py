"""Compare with `transformers`, in one process, with the same weights and threads.

python benchmarks/run.py [--quick] [--only encode decode automatic] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
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
    parts = args.only or ["encode", "decode", "automatic"]
    print(json.dumps(machine(), indent=2), flush=True)
    theirs, ours = all_forms()
    repeats = 1 if args.quick else 3
    figures = []
    if "encode" in parts:
        figures += encode.figures(theirs, ours, repeats)
    if "decode" in parts:
        figures += decode.figures(theirs, ours, repeats)
    if "automatic" in parts:
        figures += automatic.figures(theirs, ours, 8 if args.quick else 32)
    print(table(figures))
    if args.json:
        write_json(args.json, figures)


if __name__ == "__main__":
    main()
