"""How fast values are traced, and what watching a session costs.

    python bench/flow.py [--json] [--quick]

- observing: megabytes a second of thread CPU, for prose, JSON records, YAML records and Python objects; beside it, as a
  measure of the machine and its load, what `str.split` over the same prose manages (95 on a quiet 2.5 GHz core);
- blocking: how long another thread waits at worst while a 10 MB result is observed, with the default budget;
- memory: bytes allocated per character observed, and against the session's budget when ten times too much comes in;
- tracing: three short arguments that the user named, and 320 characters of prose, in sessions of 10 to 40,000
  messages. Arguments differ from call to call, and the garbage collector is off, as in `timeit`.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import yaml

import reports
from fiducial.charter.contracts import Role
from fiducial.core.ids import SourceId
from fiducial.core.label import TRUSTED, Integrity
from fiducial.core.path import PathPattern
from fiducial.flow.lexer import words
from fiducial.flow.provenance import Provenance

SEED = 20_240_601
BUDGET = 64 * 2**20
EVERYTHING = [PathPattern("$")]
BODY = [PathPattern("$[*].body")]


def vocabulary(rng: random.Random, count: int = 30_000) -> list[str]:
    """Made-up words of natural lengths."""
    syllables = [a + b for a in "bcdfghklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "on")]
    return ["".join(rng.choice(syllables) for _ in range(rng.choice((1, 2, 2, 3, 3, 4)))) for _ in range(count)]


class Writer:
    """Writes text with a natural spread of frequent and rare words."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.words = vocabulary(random.Random(SEED))
        ranks = range(1, len(self.words) + 1)
        self.weights = [1 / rank for rank in ranks]

    def prose(self, characters: int) -> str:
        """Sentences and paragraphs, about `characters` long."""
        drawn = self.rng.choices(self.words, self.weights, k=characters // 5)
        for index in range(0, len(drawn), 11):
            drawn[index] = drawn[index].capitalize()
            if index:
                drawn[index - 1] += ".\n" if index % 66 == 0 else "."
        return " ".join(drawn)[:characters]

    def record(self, number: int) -> dict[str, Any]:
        """One mail-like record."""
        name = f"{self.rng.choice(self.words)}.{self.rng.choice(self.words)}"
        return {
            "id": number,
            "sender": f"{name}@{self.rng.choice(self.words)}.example",
            "subject": self.prose(40),
            "amount": round(self.rng.uniform(1, 5000), 2),
            "date": f"2024-{self.rng.randint(1, 12):02}-{self.rng.randint(1, 28):02}",
            "body": self.prose(self.rng.randint(80, 600)),
        }


def observe(value: Any, untrusted: list[PathPattern], budget: int = 1 << 40) -> Provenance:
    provenance = Provenance(budget=budget)
    provenance.observe_result(SourceId("src_bench"), value, label=TRUSTED, untrusted=untrusted, prose=[], classes={})
    return provenance


def each_alone(value: Any, often: int) -> None:
    """Observes it in so many sessions, each of which is over when the next begins."""
    for _ in range(often):
        observe(value, BODY)


def split(text: str) -> None:
    """Cuts a text into words, piece by piece."""
    for start in range(0, len(text), 16_384):
        words(text[start : start + 16_384])


def cpu(action: Callable[[], Any], repeat: int) -> float:
    """Least thread CPU seconds of `repeat` runs."""
    best = float("inf")
    for _ in range(repeat):
        gc.collect()
        start = time.thread_time()
        action()
        best = min(best, time.thread_time() - start)
    return best


def observing(megabytes: int, repeat: int) -> dict[str, float]:
    """MB/s by kind of result."""
    writer = Writer(1)
    prose = writer.prose(megabytes * 1_000_000)
    records: list[dict[str, Any]] = []
    size = 0
    while size < megabytes * 1_000_000:
        records.append(writer.record(len(records)))
        size += len(json.dumps(records[-1]))
    text = json.dumps(records)
    few = records[: max(1, len(records) * 200_000 // size)]
    small = yaml.safe_dump(few)
    often = len(text) // len(small)  # as much in all as of the others: a machine is not equally fast at any moment
    speeds = {
        "splitting_into_words": (len(prose), cpu(lambda: split(prose), repeat)),
        "prose_untrusted": (len(prose), cpu(lambda: observe(prose, EVERYTHING), repeat)),
        "prose_trusted": (len(prose), cpu(lambda: observe(prose, []), repeat)),
        "json_records": (len(text), cpu(lambda: observe(text, BODY), repeat)),
        "python_records": (len(text), cpu(lambda: observe(records, BODY), repeat)),
        "yaml_records": (often * len(small), cpu(lambda: each_alone(small, often), repeat)),
    }
    return {name: round(length / seconds / 1e6, 2) for name, (length, seconds) in speeds.items()}


def blocking(megabytes: int) -> dict[str, float]:
    """Longest pause in milliseconds that a ticking thread sees while results are observed, and with nothing else."""
    writer = Writer(2)
    size = megabytes * 1_000_000
    records = [writer.record(number) for number in range(size // 480)]
    inputs = {
        "idle": None,
        "prose": writer.prose(size),
        "json_records": json.dumps(records),
        "json_one_string": json.dumps([{"body": writer.prose(size)}]),
        "one_word": "a" * size,
    }
    pauses = {}
    for name, value in inputs.items():
        worst = 0.0
        for _ in range(2):
            done = threading.Event()
            gaps: list[float] = []

            def tick(done: threading.Event = done, gaps: list[float] = gaps) -> None:
                last = time.perf_counter()
                while not done.is_set():
                    time.sleep(0.001)
                    now = time.perf_counter()
                    gaps.append(now - last)
                    last = now

            thread = threading.Thread(target=tick)
            thread.start()
            if value is None:
                time.sleep(0.5)
            else:
                observe(value, BODY if name.startswith("json") else EVERYTHING, BUDGET)
            done.set()
            thread.join()
            worst = max(worst, *gaps) if worst == 0 else min(worst, max(gaps))
        pauses[name] = round(worst * 1000, 1)
    return pauses


def memory(megabytes: int) -> dict[str, float]:
    """Bytes allocated a character of text, and the share of the budget that a flood takes."""
    writer = Writer(3)
    rng = random.Random(4)
    size = megabytes * 1_000_000
    kinds: dict[str, tuple[Any, list[PathPattern]]] = {
        "prose_untrusted": (writer.prose(size), EVERYTHING),
        "prose_trusted": (writer.prose(size), []),
        "json_records": (json.dumps([writer.record(number) for number in range(size // 480)]), BODY),
        "unique_words": (" ".join(f"{rng.getrandbits(32):08x}" for _ in range(size // 9)), EVERYTHING),
    }
    ratios = {}
    for name, (value, untrusted) in kinds.items():
        ratios[name] = round(_allocated(value, untrusted, 1 << 40)[0] / len(value), 2)
    flood = " ".join(f"{rng.getrandbits(32):08x}" for _ in range(size // 9))
    budget = len(flood) * 2
    ratios["flood_over_budget"] = round(_allocated(flood, EVERYTHING, budget)[0] / budget, 3)
    return ratios


def _allocated(value: Any, untrusted: list[PathPattern], budget: int) -> tuple[int, Provenance]:
    gc.collect()
    tracemalloc.start()
    try:
        provenance = observe(value, untrusted, budget)
        gc.collect()
        return tracemalloc.get_traced_memory()[0], provenance
    finally:
        tracemalloc.stop()


def session(messages: int) -> tuple[Provenance, list[tuple[str, str, str]]]:
    """A session of `messages` observations of 500 characters, and triples of arguments that its user named."""
    writer = Writer(5)
    provenance = Provenance(budget=1 << 40)
    triples = []
    named = []
    for number in range(64):
        triple = (
            f"person{number}.{writer.rng.choice(writer.words)}@corp.example",
            f"/reports/{number}/q3.pdf",
            f"INV-{number}-7731",
        )
        triples.append(triple)
        named.append("Send {} the file {} for {}.".format(*triple))
    provenance.observe_text(SourceId("src_user"), " ".join(named), authority="user", integrity=Integrity.TRUSTED)
    for number in range(messages):
        source = SourceId(f"src_{number}")
        if number % 4 == 0:
            provenance.observe_text(source, writer.prose(500), authority="agent", integrity=Integrity.TRUSTED)
        else:
            provenance.observe_result(
                source, [writer.record(number)], label=TRUSTED, untrusted=BODY, prose=[], classes={}
            )
    return provenance, triples


def tracing(messages: list[int], calls: int) -> dict[str, dict[str, float]]:
    """Microseconds of thread CPU, median, by length of session."""
    writer = Writer(6)
    letters = [writer.prose(320) for _ in range(200)]
    sessions = {count: session(count) for count in messages}
    short: dict[int, list[float]] = {count: [] for count in messages}
    fresh: dict[int, list[float]] = {count: [] for count in messages}
    long: dict[int, list[float]] = {count: [] for count in messages}
    clock = time.thread_time_ns
    gc.collect()
    gc.disable()
    try:
        # Sessions of all lengths take turns, so that a busy moment of the machine falls on all of them.
        for turn in range(calls):
            for count, (provenance, triples) in sessions.items():
                trace = provenance.trace
                one, two, three = triples[turn % len(triples)]
                timings = fresh if turn < len(triples) else short
                start = clock()
                trace("to", one, Role.TARGET)
                trace("file", two, Role.TARGET)
                trace("invoice", three, Role.TARGET)
                timings[count].append((clock() - start) / 1000)
                letter = letters[turn % len(letters)]
                start = clock()
                trace("body", letter, Role.CONTENT)
                long[count].append((clock() - start) / 1000)
    finally:
        gc.enable()
    return {
        "three_short_first_time_us": {str(count): round(statistics.median(fresh[count]), 2) for count in messages},
        "three_short_us": {str(count): round(statistics.median(short[count]), 2) for count in messages},
        "content_320_us": {str(count): round(statistics.median(long[count]), 2) for count in messages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reports.add_json(parser)
    parser.add_argument("--quick", action="store_true", help="smaller inputs, for a first look")
    options = parser.parse_args()
    size, repeat = (2, 1) if options.quick else (10, 2)
    lengths = [10, 1000] if options.quick else [10, 1000, 10_000, 40_000]
    started = time.monotonic()
    traces = tracing(lengths, 600 if options.quick else 2000)
    flat = {name: round(values[str(lengths[-1])] / values[str(lengths[0])], 3) for name, values in traces.items()}
    result = {
        "observing_mb_per_s": observing(size, repeat),
        "blocking_ms": blocking(size),
        "memory_per_character": memory(max(1, size // 3)),
        "tracing": traces,
        "longest_over_shortest_session": flat,
        "megabytes": size,
        "seconds": round(time.monotonic() - started, 1),
    }
    if reports.deliver(result, options.json):
        return
    for title, values in result.items():
        print(title)
        for name, value in values.items() if isinstance(values, dict) else [("", values)]:
            print(f"  {name:28} {value}")


if __name__ == "__main__":
    main()
