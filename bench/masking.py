"""Masking beside Presidio's pattern recognisers: speed, precision and recall in one run.

    python bench/masking.py [--json] [--each N] [--rounds N]

- speed: megabytes a second of thread CPU over texts of 1 KB, with every class looked for: texts of `everyday` prose
  without any value; `some`, in which one of four has a value or a near miss; and `every`, in which each has one.
  `mask` is finding and putting tokens in; Presidio finds only. The medians of all rounds, and the ratio in each.
- precision and recall, on values with right check digits and as many near misses (`masking_corpus`). Found is what
  covers the value with its class; wrong is whatever is found in a near miss. Both sides get the same texts; of what
  Presidio finds, scores of 0.4 and more count, which is what its validated and its specific patterns have.

Presidio runs the recognisers that its default configuration enables for English, as they come and without a language
model, and the one for Aadhaar numbers. Fiducial looks for all that it knows. Only classes that the corpus has count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import intervals
import reports
from fiducial.flow.masking.detect import find
from fiducial.flow.masking.values import mask
from fiducial.flow.masking.vault import Vault
from masking_corpus import Text, corpus, everyday

SEED = 20_261_122
_SCORE = 0.4
_CLASSES = {
    "CREDIT_CARD": "payment", "IBAN_CODE": "payment", "EMAIL_ADDRESS": "contact", "PHONE_NUMBER": "contact",
    "US_SSN": "identity", "IN_AADHAAR": "identity", "UK_NHS": "health",
}  # fmt: skip
Spans = list[tuple[int, int, str]]


def presidio() -> Callable[[str], Spans]:
    """Presidio's recognisers of the corpus's kinds, as one function."""
    import tldextract
    from presidio_analyzer import predefined_recognizers as known

    # The list of domains that is in its package, instead of the network's.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    recognisers = [
        known.CreditCardRecognizer(), known.CryptoRecognizer(), known.DateRecognizer(), known.EmailRecognizer(),
        known.IbanRecognizer(), known.IpRecognizer(), known.MedicalLicenseRecognizer(), known.NhsRecognizer(),
        known.PhoneRecognizer(), known.UrlRecognizer(), known.UsBankRecognizer(), known.UsItinRecognizer(),
        known.UsLicenseRecognizer(), known.UsPassportRecognizer(), known.UsSsnRecognizer(), known.InAadhaarRecognizer(),
    ]  # fmt: skip

    def analyse(text: str) -> Spans:
        found: Spans = []
        for each in recognisers:
            for result in each.analyze(text, each.supported_entities, None) or ():
                if result.score >= _SCORE and result.entity_type in _CLASSES:
                    found.append((result.start, result.end, _CLASSES[result.entity_type]))
        return found

    return analyse


def quality(finder: Callable[[str], Sequence[tuple[int, int, str]]], texts: Sequence[Text]) -> dict[str, Any]:
    """Precision and recall. Observations are grouped by kind, because those of a kind succeed or fail together."""
    hits: list[tuple[str, bool]] = []
    reported: list[tuple[str, bool]] = []
    kinds: dict[str, dict[str, int]] = {}
    for each in texts:
        there = [span for span in finder(each.text) if span[0] < each.end and each.start < span[1]]
        counts = kinds.setdefault(each.kind, {"found": 0, "values": 0, "wrong": 0, "near_misses": 0})
        if each.data_class is None:
            counts["near_misses"] += 1
            counts["wrong"] += bool(there)
            reported += [(each.kind, False)] if there else []
            continue
        right = any(start <= each.start and end >= each.end and name == each.data_class for start, end, name in there)
        counts["values"] += 1
        counts["found"] += right
        hits.append((each.kind, right))
        reported += [(each.kind, right)] if there else []
    return {
        "recall": intervals.share(hits).as_dict(),
        "precision": intervals.share(reported).as_dict(),
        "kinds": kinds,
    }


def rate(function: Callable[[str], Any], texts: Sequence[str]) -> float:
    """Megabytes a second of thread CPU."""
    start = time.thread_time()
    for text in texts:
        function(text)
    return sum(map(len, texts)) / (time.thread_time() - start) / 1e6


def measure(each: int, rounds: int) -> dict[str, Any]:
    """The report."""
    labelled, plain = corpus(SEED, each), everyday(SEED, 600)
    valued = [text.text for text in labelled]
    sets = {"everyday": plain, "some": plain[: 3 * len(valued[:150])] + valued[:150], "every": valued[:300]}
    analyse = presidio()
    vault = Vault(b"0" * 32, "bench")
    ours: dict[str, Callable[[str], Any]] = {"find": find, "mask": lambda text: mask(text, vault)}
    rates: dict[str, dict[str, list[float]]] = {name: {"find": [], "mask": [], "presidio": []} for name in sets}
    for number in range(-1, rounds):  # one to warm up
        for name, texts in sets.items():
            taken = {kind: rate(function, texts) for kind, function in ours.items()}
            taken["presidio"] = rate(analyse, texts[:: max(1, len(texts) // 40)])
            for kind, found in taken.items():
                if number >= 0:
                    rates[name][kind].append(found)
    fiducial, peer = quality(find, labelled), quality(analyse, labelled)

    def over(measure: str) -> float:
        shares = [side[measure]["k"] / max(1, side[measure]["n"]) for side in (fiducial, peer)]
        return round(shares[0] - shares[1], 4)

    return {
        "mb_per_s": {
            name: {kind: round(statistics.median(found), 2) for kind, found in kinds.items()}
            for name, kinds in rates.items()
        },
        "over_presidio": {
            name: round(statistics.median(a / b for a, b in zip(kinds["find"], kinds["presidio"], strict=True)), 1)
            for name, kinds in rates.items()
        },
        "recall_over_presidio": over("recall"),
        "precision_over_presidio": over("precision"),
        "fiducial": fiducial,
        "presidio": peer,
        "texts": len(labelled),
        "interval": intervals.METHOD,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reports.add_json(parser)
    parser.add_argument("--each", type=int, default=60, help="values of each kind, and as many near misses")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    report = measure(chosen.each, chosen.rounds)
    if reports.deliver(report, chosen.json):
        return
    for name, kinds in report["mb_per_s"].items():
        print(f"{name:10} {kinds} MB/s, {report['over_presidio'][name]} times Presidio")
    for side in ("fiducial", "presidio"):
        found = report[side]
        print(f"{side:10} recall {found['recall']}\n{'':10} precision {found['precision']}\n{'':10} {found['kinds']}")


if __name__ == "__main__":
    main()
