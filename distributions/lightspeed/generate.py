"""Writes `run.yaml` from the template, or says whether it is fresh.

python -m distributions.lightspeed.generate           write
python -m distributions.lightspeed.generate --check   exit 1 where it is stale; writes nothing
"""

import difflib
import sys
from pathlib import Path
from typing import Any

import yaml
from llama_stack.distributions.template import filter_empty_values

from distributions.lightspeed.lightspeed import EXTERNAL_APIS_DIR, get_distribution_template

RUN_YAML = Path(__file__).parents[2] / "run.yaml"
HEADER = """\
# GENERATED from distributions/lightspeed/lightspeed.py: edit that, then run `make generate`.
# The wheel carries this file as llama_stack/distributions/lightspeed/config.yaml.
"""


def run_yaml() -> str:
    """Return the run configuration as the template has it now."""
    template = get_distribution_template()
    settings = template.run_configs["run.yaml"]
    config: dict[str, Any] = filter_empty_values(
        settings.run_config(template.name, template.providers)
    )
    config["server"] = {"host": "${env.LIGHTSPEED_HOST:=127.0.0.1}", "port": 8321}
    config["external_apis_dir"] = EXTERNAL_APIS_DIR
    return HEADER + yaml.safe_dump(config, sort_keys=False, width=100, allow_unicode=True)


def main() -> int:
    """Write the file, or with `--check` compare it."""
    fresh = run_yaml()
    if "--check" not in sys.argv[1:]:
        RUN_YAML.write_text(fresh)
        print(f"{RUN_YAML.name} written")
        return 0
    current = RUN_YAML.read_text() if RUN_YAML.exists() else ""
    if current == fresh:
        print(f"{RUN_YAML.name} is fresh")
        return 0
    sys.stdout.writelines(
        difflib.unified_diff(
            current.splitlines(keepends=True), fresh.splitlines(keepends=True), "now", "fresh"
        )
    )
    print(f"{RUN_YAML.name} is stale: run `make generate`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
