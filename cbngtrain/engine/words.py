"""Words: functions from texts to word sets, and from word sets to word sets and counts."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

WordSet = dict[bytes, int]
"""Word → how often it occurs; never 0 except in a set of differences."""

UPPER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = frozenset(b"abcdefghijklmnopqrstuvwxyz")
DIGITS = frozenset(b"0123456789")
VOWELS = frozenset(b"aeiouyAEIOUY")

_RUN = re.compile(rb"(.)\1*", re.DOTALL)


def word_finder(valid: bytes, ignored: bytes) -> Callable[[bytes], list[bytes]]:
    """
    Return what splits a text into its words.

    A word is a byte of *valid* followed by bytes of *valid* or *ignored*: an ignored byte
    can end a word, never start one.
    """
    if not valid:
        return lambda _: []
    # A byte that is both is ignored: the native core looks there first.
    first = b"".join(b"\\x%02x" % byte for byte in sorted(set(valid) - set(ignored)))
    further = b"".join(b"\\x%02x" % byte for byte in sorted({*valid, *ignored}))
    return re.compile(b"[%b][%b]*" % (first, further)).findall if first else lambda _: []


def counted(words: Iterable[bytes]) -> WordSet:
    """The set of the words."""
    return dict(Counter(words))


def grouped(words: Sequence[bytes], together: int, separator: bytes) -> list[bytes]:
    """Every run of *together* words, joined."""
    runs = zip(*(words[start:] for start in range(together)), strict=False)
    return [separator.join(run) for run in runs]


def difference(current: Mapping[bytes, int], previous: Mapping[bytes, int]) -> WordSet:
    """How often each word of either occurs more in *current*; 0 where equally often."""
    delta = dict(current)
    for word, count in previous.items():
        delta[word] = delta.get(word, 0) - count
    return delta


def common_words(first: Mapping[bytes, int], second: Mapping[bytes, int]) -> int:
    """The sum of the second set's counts over the words in both."""
    return sum(count for word, count in second.items() if word in first)


def mapped(words: Mapping[bytes, int], change: Callable[[bytes], bytes]) -> WordSet:
    """The set of the changed words: those that become equal add up, empty ones go."""
    result: WordSet = {}
    for word, count in words.items():
        changed = change(word)
        if changed:
            result[changed] = result.get(changed, 0) + count
    return result


@dataclass(frozen=True, slots=True)
class Traits:
    """What a word is, by its bytes."""

    length: int
    longest_run: int
    lower: bool  # some a–z, no A–Z
    upper: bool  # every byte A–Z, 2 or more
    first_upper: bool  # starts A–Z, not all A–Z, 2 or more
    middle_upper: bool  # some A–Z, not first
    numeric: bool  # a digit, no letters
    part_numeric: bool  # a digit and letters
    no_vowels: bool  # letters, none of aeiouy


def traits(word: bytes) -> Traits:
    """Return what the word is."""
    of = set(word)
    has_upper, has_lower = not UPPER.isdisjoint(of), not LOWER.isdisjoint(of)
    has_digit = not DIGITS.isdisjoint(of)
    all_upper, first_upper = of <= UPPER, word[0] in UPPER
    has_letter = has_upper or has_lower
    return Traits(
        length=len(word),
        longest_run=max(len(run[0]) for run in _RUN.finditer(word)),
        lower=has_lower and not has_upper,
        upper=all_upper and len(word) > 1,
        first_upper=first_upper and not all_upper and len(word) > 1,
        middle_upper=has_upper and not first_upper,
        numeric=has_digit and not has_letter,
        part_numeric=has_digit and has_letter,
        no_vowels=has_letter and VOWELS.isdisjoint(of),
    )


def _total(trait: str) -> Callable[[Sequence[tuple[Traits, int]]], int]:
    return lambda words: sum(count for each, count in words if getattr(each, trait))


METRICS: dict[str, Callable[[Sequence[tuple[Traits, int]]], int]] = {
    "word_count": lambda words: sum(count for _, count in words),
    "distinct_word_count": len,
    "all_lcase_word_count": _total("lower"),
    "all_ucase_word_count": _total("upper"),
    "max_all_ucase_word_len": lambda words: max((t.length for t, _ in words if t.upper), default=0),
    "first_ucase_word_count": _total("first_upper"),
    "middle_ucase_word_count": _total("middle_upper"),
    "numeric_word_count": _total("numeric"),
    "part_numeric_word_count": _total("part_numeric"),
    "novowels_word_count": _total("no_vowels"),
    "max_word_len": lambda words: max((t.length for t, _ in words), default=0),
    "max_word_repeats": lambda words: max((count for _, count in words), default=0),
    "longest_char_run": lambda words: max((t.longest_run for t, _ in words), default=0),
}
"""Metric of ``misc_raw_word_metrics`` → it, of words' traits and how often each occurs."""
