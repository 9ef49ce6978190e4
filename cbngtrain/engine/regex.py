"""
POSIX regular expressions that find what the native core finds: leftmost, then longest.

Matches are found one after another; a search starts where the last match ended *as if the text
began there*, so ``^`` matches there too. An empty match counts and is the last one.

How they are found is decided once for each expression, by what can be proved of it: chains of
repeated byte sets, and choices of a few, as finders.py says, if the time is in proportion to the
text; everything else by an automaton.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from cbngtrain.engine import posix
from cbngtrain.engine.automaton import Automaton
from cbngtrain.engine.byte_chains import ByteChain, atoms, chains_of, is_linear, literal
from cbngtrain.engine.finders import Fixed, Gap, Greedy, Run, Span, Union, mapped, translation

FAR_APART = 64  # bytes of a text for each match, at least, for which to take them out one by one

Spans = Callable[[bytes], Iterable[Span]]


@dataclass(frozen=True, slots=True)
class Pattern:
    """
    A compiled expression.

    Attributes:
        spans_in: Finds the matches in a text, translated by the table where there is one.
        whole: Finds them all at once, where ``re`` can.
        table: Texts are first translated by this, where given.
        untranslated: What *whole* is for a text that was not translated.
        at_start: Takes all at once, where the first is at the start and each at the last one's
            end.
        counter: Counts them in its own way, where given.
    """

    spans_in: Spans
    whole: re.Pattern[bytes] | None = None
    table: bytes | None = None
    untranslated: re.Pattern[bytes] | None = None
    at_start: re.Pattern[bytes] | None = None
    counter: Callable[[bytes], int] | None = None

    def spans(self, text: bytes) -> Iterable[Span]:
        """The matches, one after another."""
        return self.spans_in(self._translated(text))

    def count(self, text: bytes) -> int:
        """How many matches there are."""
        if self.at_start and self.whole:
            return len(self.whole.findall(text, 0, _end(self.at_start, text)))
        if self.counter:
            return self.counter(text)
        if self.whole:
            return len(self.whole.findall(self._translated(text)))
        return sum(1 for _ in self.spans(text))

    def removed(self, text: bytes) -> bytes:
        """The text without the matches."""
        if self.at_start:
            return text[_end(self.at_start, text) :]
        if self.untranslated:
            number = self.count(text) if self.table else None
            if number == 0:
                return text
            if number is None or number * FAR_APART > len(text):
                return self.untranslated.sub(b"", text)
        kept = []
        end = 0
        for match_start, match_end in self.spans(text):
            kept.append(text[end:match_start])
            end = match_end
        return b"".join(kept) + text[end:] if end else text

    def _translated(self, text: bytes) -> bytes:
        return text.translate(self.table) if self.table else text


def _end(pattern: re.Pattern[bytes], text: bytes) -> int:
    match = pattern.match(text)
    return match.end() if match else 0


def compile_pattern(pattern: bytes, flags: str) -> Pattern:
    """
    Return what finds the matches of a POSIX regular expression.

    Args:
        pattern: The expression.
        flags: Of ``E`` extended, ``I`` ignore case, ``N`` newline-sensitive.

    Raises:
        regex_tree.SyntaxProblem: The expression is not one that POSIX defines.
    """
    newline = "N" in flags
    tree = posix.parse(pattern, extended="E" in flags, ignore_case="I" in flags, newline=newline)
    chains = chains_of(tree, newline=newline)
    if chains is not None:
        is_alone = len(chains) == 1
        if is_alone and (special := _special(chains[0], newline=newline)):
            return special
        if all(is_linear(chain, newline=newline, is_alone=is_alone) for chain in chains):
            return _by_re(chains, newline=newline)
    return Pattern(Automaton(tree, newline=newline).spans)


def _special(chain: ByteChain, *, newline: bool) -> Pattern | None:
    """The pattern of a chain that has a way of its own."""
    is_anchored = chain.at_start and not (newline or chain.at_end or chain.may_be_empty)
    if is_anchored and is_linear(chain, newline=newline, is_alone=True):
        greedy = Greedy(chain, newline=False)
        repeated = re.compile(b"(?>%b)*+" % greedy.regex.pattern, re.DOTALL)
        return Pattern(greedy.spans, greedy.regex, at_start=repeated)
    if Gap.fits(chain):
        return Pattern(Gap(chain).spans)
    if Run.fits(chain):
        return Pattern(Run(chain).spans)
    if Fixed.fits(chain):
        fixed = Fixed(chain.links)
        return Pattern(fixed.spans, counter=fixed.count)
    return None


def _by_re(chains: list[ByteChain], *, newline: bool) -> Pattern:
    """What finds the chains' matches by ``re``."""
    if len(chains) != 1:
        return Pattern(Union([Greedy(chain, newline=newline) for chain in chains]).spans)
    [chain] = chains
    greedy = standing = Greedy(chain, newline=newline)
    table = None
    is_anchored = chain.at_start or chain.at_end  # anchors look at the bytes themselves
    if not (is_anchored or literal(chain.links)) and literal(mapped(chain).links):
        table = translation(atoms(chain.links))
        standing = Greedy(mapped(chain), newline=newline)
    if chain.at_start or chain.may_be_empty:
        return Pattern(standing.spans, table=table)
    counter = None
    if all(link.is_fixed and len(link.of) == 1 for link in chain.links) and not is_anchored:
        counter = partial(_count, literal(chain.links))
    return Pattern(standing.spans, standing.regex, table, greedy.regex, counter=counter)


def _count(literal: bytes, text: bytes) -> int:
    return text.count(literal)
