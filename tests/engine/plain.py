"""
The contract's modules, a second time: written to be read, byte by byte, in no hurry.

Property tests compare the engine with these.
"""

from collections import Counter
from itertools import pairwise


def quotes_separated(text: bytes) -> tuple[bytes, bytes]:
    """What is quoted, and what is not."""
    quoted, unquoted = bytearray(), bytearray()
    is_quoted = False
    for byte in text:
        if byte == ord('"'):
            is_quoted = not is_quoted
            continue
        if byte == ord("\n"):
            if is_quoted:
                quoted.append(byte)
            is_quoted = False
        (quoted if is_quoted else unquoted).append(byte)
    return bytes(quoted), bytes(unquoted)


def replaced(  # noqa: PLR0917  # the options of the module
    text: bytes, find: bytes, replace: bytes, remove: bytes, removemulti: bytes, keep: bytes | None
) -> bytes:
    """The text with bytes mapped, dropped and collapsed."""
    mapping = dict(zip(find, replace, strict=False))
    written = bytearray()
    for byte in text:
        new = mapping.get(byte, byte)
        if new in remove:
            continue
        if new in removemulti and written and written[-1] == new:
            continue
        if keep is not None and new not in keep:
            continue
        written.append(new)
    return bytes(written)


def words(text: bytes, valid: bytes, ignored: bytes) -> list[bytes]:
    """The words of a text."""
    found: list[bytes] = []
    word: bytearray | None = None
    for byte in text:
        if word is None:
            if byte in valid and byte not in ignored:
                word = bytearray([byte])
        elif byte in valid or byte in ignored:
            word.append(byte)
        else:
            found.append(bytes(word))
            word = None
    return found if word is None else [*found, bytes(word)]


def runs(found: list[bytes], together: int, separator: bytes) -> list[bytes]:
    """Every run of so many words, joined."""
    return [
        separator.join(found[start : start + together])
        for start in range(len(found) - together + 1)
    ]


def found_first(text: bytes, metrics: dict[str, list[bytes]]) -> dict[str, int]:
    """Occurrences of strings, where no two end together: the one that ends first counts."""
    owner: dict[bytes, str] = {}
    for metric, needles in metrics.items():
        for needle in needles:
            owner.setdefault(needle, metric)
    counts = dict.fromkeys(owner.values(), 0)
    begin = 0
    for end in range(1, len(text) + 1):
        ending = [needle for needle in owner if text[begin:end].endswith(needle)]
        if ending:
            counts[owner[ending[0]]] += 1
            begin = end
    return counts


def word_metrics(counts: dict[bytes, int]) -> dict[str, int]:
    """The metrics of ``misc_raw_word_metrics``."""
    upper, lower, digits = (
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        b"abcdefghijklmnopqrstuvwxyz",
        b"0123456789",
    )
    result: Counter[str] = Counter()
    for word, count in counts.items():
        has_upper = any(byte in upper for byte in word)
        has_lower = any(byte in lower for byte in word)
        has_digit = any(byte in digits for byte in word)
        is_upper = all(byte in upper for byte in word) and len(word) > 1
        run = longest = 1
        for before, byte in pairwise(word):
            run = run + 1 if before == byte else 1
            longest = max(longest, run)
        result["word_count"] += count
        result["all_lcase_word_count"] += count * (has_lower and not has_upper)
        result["all_ucase_word_count"] += count * is_upper
        result["first_ucase_word_count"] += count * (
            word[0] in upper and not is_upper and len(word) > 1
        )
        result["middle_ucase_word_count"] += count * (has_upper and word[0] not in upper)
        result["numeric_word_count"] += count * (has_digit and not has_lower and not has_upper)
        result["part_numeric_word_count"] += count * (has_digit and (has_lower or has_upper))
        result["novowels_word_count"] += count * (
            (has_lower or has_upper) and not any(byte in b"aeiouyAEIOUY" for byte in word)
        )
        result["max_all_ucase_word_len"] = max(
            result["max_all_ucase_word_len"], len(word) * is_upper
        )
        result["max_word_len"] = max(result["max_word_len"], len(word))
        result["max_word_repeats"] = max(result["max_word_repeats"], count)
        result["longest_char_run"] = max(result["longest_char_run"], longest)
    result["distinct_word_count"] = len(counts)
    return dict(result)
