"""Names as a model for named entities tells them: a spaCy pipeline, asked through Presidio (`fiducial[ner]`).

1. The model is looked for among what is installed and is read when a charter is made ready. Nothing is downloaded, and
   what is missing is an error then.
2. It must know every entity that it is to be asked for: of a misspelt one, nothing would ever be masked.
3. It is given passages (`passages`), one at a time, whatever else is at work. What it said of one is remembered under a
   keyed digest, as conversations come again and again.
4. When it fails, that is an error of whoever asks, and nothing of the text is given out.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from fiducial.charter.findings import did_you_mean, quote
from fiducial.charter.recognition import Recognition
from fiducial.core.faults import told
from fiducial.errors import CharterError, MaskingError, Problem
from fiducial.flow.masking.detector import Found

_REMEMBERED = 10_000
"""Passages of which it is remembered what was found in them."""


class _Named(NamedTuple):
    """A name in a passage."""

    start: int
    end: int
    entity: str


class _Model(NamedTuple):
    """A model that was read."""

    tells: frozenset[str]
    """Entities, as Presidio calls them."""
    ask: Callable[[str, list[str]], list[_Named]]
    """Text and entities → those that are in it."""


class Recognizer:
    """Finds names in passages; used by any thread."""

    __slots__ = ("_ask", "_entities", "_key", "_known", "_lock", "classes")

    def __init__(self, recognition: Recognition) -> None:
        """Raises `CharterError` when Presidio or the model is missing, or does not know an entity."""
        model = _read(recognition.model)
        if unknown := [each for each in recognition.entities if each not in model.tells]:
            fix = did_you_mean(unknown[0], model.tells) or f"it tells {', '.join(sorted(model.tells)) or 'none at all'}"
            raise _refused(f"the model `{recognition.model}` tells no entity {quote(unknown[0])}", fix)
        self._ask, self._entities = model.ask, dict(recognition.entities)
        self._key, self._lock = os.urandom(16), threading.Lock()
        self._known: OrderedDict[bytes, tuple[Found, ...]] = OrderedDict()
        self.classes = frozenset(recognition.entities.values())
        """Data classes that its names are of."""

    def find(self, passage: str, classes: frozenset[str]) -> Iterator[Found]:
        """Names of `classes` in `passage`. Raises `MaskingError` when the model fails."""
        if self.classes.isdisjoint(classes) or not any(map(str.isalpha, passage)):
            return iter(())
        return (each for each in self._found(passage) if each.data_class in classes)

    def _found(self, passage: str) -> tuple[Found, ...]:
        raw = passage.encode("utf-8", "replace")  # spaCy takes no half of a surrogate pair
        key = hashlib.blake2b(raw, key=self._key, digest_size=16).digest()
        with self._lock:
            if (found := self._known.get(key)) is not None:
                self._known.move_to_end(key)
                return found
        found = tuple(self._asked(raw.decode()))
        with self._lock:
            self._known[key] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _asked(self, passage: str) -> Iterator[Found]:
        try:
            named = self._ask(passage, list(self._entities))
        except Exception as fault:  # noqa: BLE001 - a pipeline runs anybody's code; its words may repeat the text
            raise MaskingError(f"names could not be told from a text ({told(fault)}); it is not given out") from None
        for start, end, entity in named:
            name = passage[start:end]
            start, end = end - len(name.lstrip()), start + len(name.rstrip())
            if start < end:
                yield Found(start, end, self._entities[entity])


@cache
def _read(name: str) -> _Model:
    """The model `name`, ready to be asked. Raises `CharterError`."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer
    except ImportError:
        raise _refused("it needs Presidio, which is not installed", "pip install 'fiducial[ner]'") from None
    # Presidio downloads a model that it does not find; given one that was read, it looks for none.
    if Path(name).is_absolute():
        if not Path(name, "config.cfg").is_file():
            raise _refused(f"there is no model in `{name}`", "give the folder that `nlp.to_disk(…)` has written")
    elif not spacy.util.is_package(name):
        raise _refused(f"the model `{name}` is not installed", f"python -m spacy download {name}")
    try:
        nlp: Any = spacy.load(name)
    except Exception as fault:  # noqa: BLE001 - a pipeline runs anybody's code
        raise _refused(f"the model `{name}` cannot be read ({told(fault)})", "install it again") from None
    labels = _labels(nlp)
    usual = NerModelConfiguration().model_to_presidio_entity_mapping or {}
    entities = {label: usual.get(label, label) for label in labels}
    language, tells = str(nlp.lang), frozenset(entities.values())
    engine: Any = SpacyNlpEngine(
        models=[{"lang_code": language, "model_name": name}],
        ner_model_configuration=NerModelConfiguration(model_to_presidio_entity_mapping=usual | entities),
    )
    engine.nlp = {language: nlp}
    registry = RecognizerRegistry(
        recognizers=[SpacyRecognizer(supported_language=language, supported_entities=sorted(tells))],
        supported_languages=[language],
    )
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
    lock = threading.Lock()

    def ask(text: str, wanted: list[str]) -> list[_Named]:
        # What it learns of new words it forgets again, or it would grow with all that it reads.
        with lock, nlp.memory_zone():
            found = analyzer.analyze(text, language=language, entities=wanted)
            return [_Named(each.start, each.end, each.entity_type) for each in found]

    return _Model(tells, ask)


def _labels(nlp: Any) -> frozenset[str]:
    """What the parts of a pipeline that find entities call them."""
    finds = [name for name in nlp.pipe_names if any("ents" in each for each in nlp.get_pipe_meta(name).assigns)]
    return frozenset().union(*(nlp.pipe_labels.get(name, ()) for name in finds))


def _refused(message: str, fix: str) -> CharterError:
    return CharterError([Problem("charter.yaml", 0, "cannot-recognize", f"`recognize`: {message}", fix)])


__all__ = ["Recognizer"]
