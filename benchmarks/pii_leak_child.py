"""Runs pii-leak-benchmark's own command and keeps what each of its cases saw.

Its reports tell which entities reached the model, but not from which place in a request. This runs
in the environment that has the package, with the command's own arguments after the file to write.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pii_leak_benchmark import v2_cli, v2_emitter


def main(cases_file: str, *arguments: str) -> int:
    """Run the command and write a row a case."""
    results: list[Any] = []
    run_case = v2_emitter.run_case

    def kept(*given: Any, **named: Any) -> Any:
        results.append(run_case(*given, **named))
        return results[-1]

    v2_emitter.run_case = kept
    status = v2_cli.main(arguments)
    seed = arguments[arguments.index("--seed") + 1]
    rows = [_row(result, v2_emitter.build_segments(seed)) for result in results]
    Path(cases_file).write_text(json.dumps(rows))
    return status


def _row(result: Any, segments: Any) -> dict[str, Any]:
    boundary = v2_emitter._boundary_check([result], segments)
    return {
        **result.case,
        "requests": boundary["captured_requests"],
        "placed": sorted(segments.echo),
        "reached_the_model": boundary["leaked_entity_types"],
        "splits": result.split_points_tried,
        "splits_leaked": result.split_points_leaked,
        "tier": result.leak_tier,
        "restored": sum(result.echo_recovered.values()) if result.echo_observable else None,
        "fault": result.transport_error,
    }


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
