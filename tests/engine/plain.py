"""
The contract's modules, a second time: written to be read, byte by byte, in no hurry.

Property tests compare the engine with these.
"""

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

Value = bytes | bool | int | float | dict[bytes, int] | list[float]
"""A property of an edit; a word set is a dictionary, a float set a list."""


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


def found_by_readers(text: bytes, metrics: dict[str, list[bytes]]) -> dict[str, int]:
    """
    Occurrences of strings, as the native core has them found.

    A reader starts at each byte and lives as long as the longest string, in a ring of so many;
    of the readers that have read a string, the first one in the ring counts it, and all start
    anew.
    """
    owner: dict[bytes, str] = {}
    for metric, needles in metrics.items():
        for needle in needles:
            owner.setdefault(needle, metric)
    counts = dict.fromkeys(owner.values(), 0)
    size = max(map(len, owner), default=1)
    ring: list[bytes] = []
    number = 0  # of the next byte since the last find
    for byte in text:
        ring = [*ring, b""] if number < size else ring
        if number >= size:
            ring[number % size] = b""
        ring = [read + bytes([byte]) for read in ring]
        number += 1
        if found := [read for read in ring if read in owner]:
            counts[owner[found[0]]] += 1
            ring, number = [], 0
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


def float32(value: float) -> float:
    """The nearest 32-bit float."""
    return (
        math.copysign(math.inf, value)
        if abs(value) > 3.4028235677973366e38
        else (struct.unpack("f", struct.pack("f", value))[0])
    )


def clipped(value: float, low: float | None, high: float | None) -> float:
    """
    A value of a float set: NaN and what is below are *low*, what is above is *high*.

    So is -inf, if there is no *low*.
    """
    value = float32(value)
    if low is not None and (math.isnan(value) or value < float32(low)):
        value = float32(low)
    if high is not None and (value > float32(high) or math.isinf(value)):
        value = float32(high)
    return value


def truncated(value: float) -> int:
    """A double as x86 makes a 32-bit int of it."""
    is_there = not math.isnan(value) and -(2**31) - 1 < value < 2**31
    return int(value) if is_there else -(2**31)


def training_words(sets: Sequence[Mapping[bytes, int]], truths: Sequence[bool]) -> bytes:
    """What ``bayesian_training_data_creator`` writes."""
    text = b""
    for words_of_edit, is_vandalism in zip(sets, truths, strict=True):
        for word in [b"_EDIT_TOTALS", *sorted(words_of_edit)] if words_of_edit else []:
            text += b"%d %b\n" % (is_vandalism, word)
    return text


def training_rows(inputs: Sequence[list[float]], outputs: Sequence[list[float]]) -> bytes:
    """What ``write_ann_training_data`` writes."""
    lines = [f"{len(inputs)} {len(inputs[0])} {len(outputs[0])}"]
    for pair in zip(inputs, outputs, strict=True):
        lines += [" ".join(c_number(value, "%.10f") for value in row) for row in pair]
    return "".join(line + "\n" for line in lines).encode()


def c_number(value: float, form: str) -> str:
    """A float as C prints it, NaN with its sign."""
    if math.isnan(value):
        return "-nan" if math.copysign(1, value) < 0 else "nan"
    return form % value


def shown(value: Value) -> bytes:
    """A property as lists and dumps show it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return c_number(value, "%g").encode()
    if isinstance(value, dict):
        return b"WordSet:\n" + b"".join(b"%b: %d\n" % pair for pair in sorted(value.items()))
    return b"FloatSet:\n" + b"".join(c_number(each, "%g").encode() + b"\n" for each in value)


def dumped(edit: Mapping[str, Value], limit: int | None) -> bytes:
    """An edit as ``edit_dump`` writes it."""
    text = b"<WPEdit>\n"
    for name, value in sorted(edit.items()):
        content = shown(value)
        if limit is not None and len(content) > limit:
            content = (content if limit < 4 else content[: limit - 4]) + b" ..."
        text += b"<%b>" % name.encode()
        for byte in content:
            escapes = {ord("&"): b"&amp;", ord("<"): b"&lt;", ord(">"): b"&gt;"}
            text += escapes.get(byte, bytes([byte]) if byte < 128 else b"")
        text += b"</%b>\n" % name.encode()
    return text + b"</WPEdit>\n\n\n"
