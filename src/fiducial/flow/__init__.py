"""Where data came from: what a session observed, and the trust of every argument traced back to it.

Matching may lower trust easily and raise it hardly. `provenance` is what the guard holds, one per session; `trace` has
the nouns it answers with; `lexer` says what a whole entity is, and `entities` of which kinds; `memory` keeps what was
observed, with the labels that `labelling` gives; `rules` trace a value through it; `laundry` remembers untrusted values
that were written out through tools; `classes` finds data classes in free text. Nothing is imported here, so that
importing the package costs nothing.
"""
