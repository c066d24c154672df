"""YAML text, by libyaml's events: no tags are resolved, no objects built, no aliases followed."""

from __future__ import annotations

import re
from typing import Any

import yaml

from fiducial.flow.formats.members import MAX_DEPTH, Members


def read(text: str) -> Any:
    """The block mapping or list that `text` is; `None` when it is not, or says anything that no leaf or key would hold.

    Comments, tags, anchors, directives and keys that are no scalars say something to whoever reads the text and nothing
    to a parser. So what stands between the scalars must be indicators and white space, and what a scalar spans must be
    its value.
    """
    # Collections that are open, the innermost last; the first is a list of its own, for the root.
    stack: list[list[Any]] = [[]]
    items = roots = stack[0]
    start = _DOCUMENT.match(text)
    done = start.end() if start else 0
    scalar, between = yaml.ScalarEvent, set[str]()
    try:
        event = _LOADER(text).get_event
        while (kind := type(found := event())) is not yaml.StreamEndEvent:
            if kind is scalar:
                start_mark, end_mark = found.start_mark, found.end_mark
                if items is roots or start_mark is None or end_mark is None:
                    return None
                low = start_mark.index
                # Few kinds of gaps come again and again.
                gap = text[done:low]
                if gap not in between:
                    if not _BETWEEN.fullmatch(gap):
                        return None
                    between.add(gap)
                done = end_mark.index
                value, written = found.value, text[low:done]
                if written != value and not _spans_its_value(found, written):
                    return None
                items.append(value)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if len(stack) > MAX_DEPTH or (items is roots and roots):
                    return None
                items = []
                stack.append(items)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                closed = _pairs(stack.pop()) if kind is yaml.MappingEndEvent else stack.pop()
                if closed is None:
                    return None
                items = stack[-1]
                items.append(closed)
            elif kind is yaml.AliasEvent:
                return None
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return roots[0] if roots and _BETWEEN.fullmatch(text, done) else None


_DOCUMENT = re.compile(r"\s*---(?=\s)")
_BETWEEN = re.compile(r"[\s\-:?,\[\]{}]*+")
"""What may stand between the scalars of a YAML text: indicators that hold no word, and white space."""
_BLOCK_HEAD = re.compile(r"[|>](?:[+-][1-9]?|[1-9][+-]?)?[ \t]*(?=[\r\n]|\Z)")
_FOLD = re.compile(r"\n +")
_QUOTES = ("'", '"')


def _spans_its_value(event: yaml.ScalarEvent, written: str) -> bool:
    """All of `written`, as it stands in the text, is the scalar's value: no tag, no anchor, no comment."""
    value: str = event.value
    if not event.style and _FOLD.sub(" ", written) == value:
        return True
    if event.style in _QUOTES:
        return written[:1] == event.style == written[-1:]
    if event.style:
        head = _BLOCK_HEAD.match(written)
        if head is None:
            return False
        written = written[head.end() :]
    # Plain and block scalars have no escapes; only their white space is folded.
    return written.split() == value.split()


_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


_STRING = frozenset({str})


def _pairs(items: list[Any]) -> Members | None:
    """An object of keys and values in turn; `None` when a key is no scalar."""
    if not _STRING.issuperset(map(type, items[::2])):
        return None
    return Members(zip(items[::2], items[1::2], strict=True))
