"""What this product's Responses API costs beside the stock one, in one run.

    python benchmarks/responses_speed.py
    python benchmarks/responses_speed.py --only in-process --rounds 400
    python benchmarks/responses_speed.py --only servers --clients 1 8 32
    python benchmarks/responses_speed.py --only shields
    python benchmarks/responses_speed.py --only memory --requests 10000

Ours is `inline::lightspeed-responses` with shields and retrieval off and transcripts on, as
shipped; the other is Llama Stack's `inline::builtin` with Llama Stack's default stores. Both ask
one canned model that says the same to everybody: at once, or in 500 chunks.

in-process  both providers in this process take turns: latency, first text, CPU time. Only this
            can show a millisecond on a machine that does other things as well.
servers     both as whole servers that take turns, asked by 1, 8 and 32 clients at a time:
            requests a second, latency, first text. The model is a process of its own. On two
            cores the model and the clients take their share of the time.
shields     two input shields of 50 ms and a search of 20 ms: when the first text comes.
memory      how the process grows over many requests.

`responses_crowd.py` asks one server for minutes and counts what is lost. A target that is missed
changes no exit status; an answer that is not whole does.
"""

import argparse
import asyncio
import logging
import os

os.environ.setdefault("LLAMA_STACK_LOGGING", "all=error")  # read when the host is imported

from responses_here import latencies, memory, shielded
from responses_table import Table, print_tables
from responses_whole import servers

from lightspeed_providers.core.progress import Report, shown_progress

MEASURES = ("in-process", "servers", "shields", "memory")


def measured(name: str, options: argparse.Namespace, report: Report) -> list[Table]:
    """Run one measure."""
    if name == "in-process":
        return asyncio.run(latencies(options.rounds, report))
    if name == "servers":
        return servers(options.clients, options.blocks, options.block, report)
    if name == "shields":
        return [asyncio.run(shielded(max(options.rounds // 4, 10), report))]
    return [asyncio.run(memory(options.requests, report))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=MEASURES, action="append", help="May be repeated")
    parser.add_argument("--rounds", type=int, default=200, help="Answers of each side in process")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32], help="At one time")
    parser.add_argument("--blocks", type=int, default=8, help="Turns of each server")
    parser.add_argument("--block", type=int, default=64, help="Requests of a turn at the least")
    parser.add_argument("--requests", type=int, default=1000, help="For the measure of memory")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores; load before this run: {load} (1, 5, 15 minutes)")
    tables: list[Table] = []
    with shown_progress() as report:
        for name in MEASURES:
            if not options.only or name in options.only:
                tables += measured(name, options, report)
    print_tables(tables)
    if any(table.faults for table in tables):
        raise SystemExit("There were faults: see FAULT above.")


if __name__ == "__main__":
    main()
