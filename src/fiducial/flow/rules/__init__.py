"""How an argument is traced, by what its parameter means. Matching may lower trust easily and raise it hardly.

Target: where or on whom the tool acts.
  1. One whole entity (`lexer`), code point for code point, in the user's text: *user*; in a tool's record: *record*,
     contested when untrusted text names the same entity, whole, in whatever case or look-alike letters.
  2. Otherwise *untrusted* when untrusted text has it: word for word, or folded, or with other punctuation, or spelled
     out, reversed or encoded on either side, or when it has a telling part of it that no trusted source has. Only
     word for word is it *verbatim*: whoever undoes a disguise composes.
  3. Otherwise *unknown*.
Magnitude: how much or when. Numbers compare by value, dates by the day they mean, times where the sources have times.
  Found among the user's words or the records: so it is. Following from those in a simple way: *derived*. Otherwise
  untrusted when untrusted text has it, or it follows with an untrusted number; otherwise unknown.
Option: how. Trusted when all its words are words of trusted texts, in any case: an option acts on nobody.
Content: what is written. Composing is normal, so the question is what it carries: five words in a row, a name, an
  address or a longer number of an untrusted source that no trusted source has; of a single word, whether it is one.

When the untrusted lane is full, what is not found there may still have been said: records count as contested and
content as carrying untrusted text.
"""

from fiducial.flow.rules.contents import content
from fiducial.flow.rules.magnitudes import magnitude
from fiducial.flow.rules.options import option
from fiducial.flow.rules.targets import target

__all__ = ["content", "magnitude", "option", "target"]
