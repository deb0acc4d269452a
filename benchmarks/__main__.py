"""`python -m benchmarks`: measure the rows of the design, and print them."""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks import short
from benchmarks.environment import peer_python
from benchmarks.measure import Row, Side
from benchmarks.plot import plot
from benchmarks.report import FLOORS, data, machine, table
from benchmarks.rows import PEER_ROWS, ROWS, Bench
from benchmarks.upstream import upstream


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = {**ROWS, **PEER_ROWS}
    parser.add_argument("--row", choices=sorted(known), action="append", help="only this row; may be repeated")
    parser.add_argument("--rounds", type=int, default=7, help="how often each side is measured (default: 7)")
    parser.add_argument("--json", metavar="F", help="keep the figures in a file")
    parser.add_argument("--plot", metavar="F.png", help="draw them, and dark as F-dark.png (needs matplotlib)")
    parser.add_argument("--peers", action="store_true", help="install and measure other gateways and clients as well")
    parser.add_argument("--short", action="store_true", help="only what does not depend on the machine")
    arguments = parser.parse_args()
    if arguments.short:
        return short.main()
    rows: list[Row] = []
    names = dict.fromkeys([*(arguments.row or ROWS), *(PEER_ROWS if arguments.peers else ())])
    with upstream() as server, Side(sys.executable, server.url) as ours, Side(peer_python(), server.url) as theirs:
        bench = Bench(server.url, ours, theirs, arguments.rounds)
        for name in names:
            print(f"measuring {name}", file=sys.stderr)
            rows += known[name](bench)
        print(f"Measured on {machine(server.name)}; medians of {arguments.rounds} interleaved rounds.\n")
        print(table(rows))
        print(f"\n{FLOORS}")
        if arguments.json:
            with open(arguments.json, "w", encoding="utf-8") as file:
                json.dump(data(rows, server.name), file, indent=2)
        if arguments.plot:
            plot(rows, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
