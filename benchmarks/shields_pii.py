"""Redaction on public data, which is fetched where this runs and not kept here.

generate  writes sentences of presidio-evaluator's templates, with what they hold; run it with a
          Python that has presidio-evaluator (without its dependencies) and faker, pandas, tqdm,
          python-dotenv and xmltodict.
measure   reads them and prints recall and precision of the shield; a value counts as found where
          all of it was rewritten, and what was rewritten counts as right where it lies in a value.
splits    streams every value of pii-leak-benchmark (`pip download --no-deps`, unpacked, on
          PYTHONPATH) cut in two at every place and in three, and counts what leaks.

    python benchmarks/shields_pii.py generate --count 3000 sentences.jsonl
    python benchmarks/shields_pii.py measure sentences.jsonl
    PYTHONPATH=unpacked python benchmarks/shields_pii.py splits
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

LABELS = {
    "CREDIT_CARD": "CARD",
    "EMAIL_ADDRESS": "EMAIL",
    "IBAN_CODE": "IBAN",
    "IP_ADDRESS": "IP",
    "PHONE_NUMBER": "PHONE",
    "US_SSN": "SSN",
}
AROUND = (("Reference record: ", ""), ('{"note": "', '"}'), ("", ""))
SHORTEST_PART = 6
"""A run of so many characters of a value is a part of it that leaked."""


def generate(path: Path, count: int, seed: int) -> None:
    """Write sentences, each with its spans."""
    from presidio_evaluator.data_generator import PresidioSentenceFaker

    faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, random_seed=seed)
    with path.open("w", encoding="utf-8") as lines:
        for sample in faker.generate_new_fake_sentences(count):
            spans = [
                {"start": s.start_position, "end": s.end_position, "label": s.entity_type}
                for s in sample.spans
            ]
            lines.write(json.dumps({"text": sample.full_text, "spans": spans}) + "\n")


def measure(path: Path, show: bool) -> None:
    """Print a table of what the shield found."""
    from lightspeed_providers.safety.shields.redacting.entities import PLACEHOLDER, RULES
    from lightspeed_providers.safety.shields.redacting.find import RuleSet, Search

    rules = RuleSet((PLACEHOLDER, *RULES))
    found, missed, right, wrong = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    seconds, characters = 0.0, 0
    for line in path.read_text(encoding="utf-8").splitlines():
        sentence = json.loads(line)
        text = sentence["text"]
        began = time.process_time()
        search = Search(rules)
        search.push(text.encode(), final=True)
        seconds += time.process_time() - began
        characters += len(text)
        places = [
            (f.rule.label, len(search.data[: f.start].decode()), len(search.data[: f.end].decode()))
            for f in search.found
        ]
        wanted = [(s["label"], s["start"], s["end"]) for s in sentence["spans"]]
        for label, start, end in wanted:
            if label in LABELS:
                is_found = any(a <= start and end <= b for _, a, b in places)
                (found if is_found else missed)[LABELS[label]] += 1
                if show and not is_found:
                    print("missed", LABELS[label], text[start:end])
        for label, start, end in places:
            is_right = any(a < end and start < b for known, a, b in wanted if known in LABELS)
            (right if is_right else wrong)[label] += 1
            if show and not is_right:
                print("wrong", label, text[start:end], "|", text)
    print(f"{'':7} {'values':>7} {'recall':>7} {'rewritten':>9} {'precision':>9}")
    for label in sorted(set(LABELS.values()) | {"KEY"}):
        values, places_found = found[label] + missed[label], right[label] + wrong[label]
        recall = f"{found[label] / values:7.3f}" if values else "      –"
        precision = f"{right[label] / places_found:9.3f}" if places_found else "        –"
        print(f"{label:7} {values:7} {recall} {places_found:9} {precision}")
    print(f"{seconds / characters * 2e6:.2f} ms CPU for 2,000 characters")


def values_of_the_benchmark(seeds: int) -> Iterator[str]:
    """Yield the values that pii-leak-benchmark puts into answers, also percent-encoded."""
    from urllib.parse import quote

    from pii_leak_benchmark.needle_registry import needle_values
    from pii_leak_benchmark.v2_emitter import build_segments

    for seed in range(seeds):
        for value in build_segments(f"{seed:016x}").injection.values():
            yield from {value, quote(value, safe="")}
    yield from needle_values("00").values()


def splits(seeds: int) -> None:
    """Print how many cuts of a value let it, or a part of it, through."""
    from lightspeed_providers.core.verdicts import Context, Direction
    from lightspeed_providers.safety.shields.base import Models, Scanned, Scanner
    from lightspeed_providers.safety.shields.redaction import RedactionOptions

    def no_model(model_id: str) -> object:
        raise AssertionError(model_id)

    models = Models(no_model, no_model)  # type: ignore[arg-type]  # never asked
    shield = RedactionOptions(kind="redaction").build(models)

    def _scanner() -> Scanner:
        scanner = shield.scanner(Direction.OUTPUT, Context())
        if scanner is None:
            raise TypeError("redaction reads streams")
        return scanner

    tried = whole = partly = 0
    for value in values_of_the_benchmark(seeds):
        cuts = [(n,) for n in range(1, len(value))]
        cuts += list(combinations(range(1, len(value)), 2))[:: max(1, len(value) // 4)]
        for before, after in AROUND:
            for cut in cuts:
                ends = [*cut, len(value)]
                parts = [value[a:b] for a, b in zip((0, *cut), ends, strict=True)]
                scanner = _scanner()
                scans = [scanner.push(p) for p in (before, *parts, after)] + [scanner.end()]
                left = "".join(scan.text for scan in scans if isinstance(scan, Scanned))
                runs = (value[n : n + SHORTEST_PART] for n in range(len(value) - SHORTEST_PART + 1))
                tried += 1
                whole += value in left
                partly += any(run in left for run in runs)
    print(f"{tried} cuts: {whole} leaked a value, {partly} a part of one")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("generate", "measure", "splits"))
    parser.add_argument("file", type=Path, nargs="?", default=Path("sentences.jsonl"))
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--show", action="store_true", help="print what was missed and wrong")
    options = parser.parse_intermixed_args()
    if options.what == "generate":
        generate(options.file, options.count, options.seed)
    elif options.what == "measure":
        measure(options.file, options.show)
    else:
        splits(seeds=options.seed)


if __name__ == "__main__":
    main()
