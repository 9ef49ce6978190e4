"""POSIX regular expressions, against libc's own."""

import ctypes
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbngtrain.engine import posix, regex
from cbngtrain.engine.automaton import Automaton
from cbngtrain.engine.byte_chains import chains_of, is_linear
from cbngtrain.engine.finders import FEW_ENDINGS, Gap, Run
from cbngtrain.engine.regex_tree import SyntaxProblem

REG_EXTENDED, REG_ICASE, REG_NEWLINE = 1, 2, 4  # glibc's regex.h
libc = ctypes.CDLL(None)


class _Match(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_int), ("end", ctypes.c_int))


def matches(pattern: bytes, flags: str, text: bytes) -> list[tuple[int, int]]:
    """What libc finds, one after another, each search as if the text began where it starts."""
    compiled = ctypes.create_string_buffer(256)
    options = (
        REG_EXTENDED * ("E" in flags) | REG_ICASE * ("I" in flags) | REG_NEWLINE * ("N" in flags)
    )
    assert libc.regcomp(compiled, pattern, options) == 0
    found: list[tuple[int, int]] = []
    start, match = 0, _Match()
    while libc.regexec(compiled, text[start:], 1, ctypes.byref(match), 0) == 0:
        found.append((start + match.begin, start + match.end))
        if match.begin == match.end:
            break
        start += match.end
    libc.regfree(compiled)
    return found


atoms = st.sampled_from([*"abAB<>xn \n.", "[ab]", "[^a]", "[^\n]", "[a-cX]", "[]a]", "[^]a]"])
atoms |= st.sampled_from(["[[:alpha:]]", "[[:space:]<]", r"[\n]", r"[^ |\]", "[x-]"])
escaped = st.sampled_from([r"\.", r"\*", r"\n", r"\|"])
repeats = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{0,9}"])


def _expressions(inner, form="{}"):
    """Choices of sequences, put into a form, of what *inner* gives, repeated."""
    sequences = st.lists(st.tuples(inner, repeats).map("".join), min_size=1, max_size=4)
    formed = sequences.map("".join).map(lambda each: form.replace("{}", each))
    return st.lists(formed, min_size=1, max_size=3).map("|".join)


flat = _expressions(atoms | escaped)
nested = _expressions(atoms | escaped | flat.map("({})".format))
unescaped = _expressions(atoms | _expressions(atoms).map("({})".format))
some_texts = st.text("abABx<>n\n |]\\1", max_size=60).map(str.encode)


def _check(pattern: str, flags: str, text: bytes) -> None:
    wanted = matches(pattern.encode(), flags, text)
    compiled = regex.compile_pattern(pattern.encode(), flags)
    assert list(compiled.spans(text)) == wanted
    tree = posix.parse(
        pattern.encode(), extended="E" in flags, ignore_case="I" in flags, newline="N" in flags
    )
    assert Automaton(tree, newline="N" in flags).spans(text) == wanted
    assert compiled.count(text) == len(wanted)
    kept, end = b"", 0
    for begin, match_end in wanted:
        kept, end = kept + text[end:begin], match_end
    assert compiled.removed(text) == kept + text[end:]


@pytest.mark.slow
@settings(max_examples=400)
@given(nested, st.sampled_from(["E", "EN"]), some_texts)
def test_extended_expressions(pattern, flags, text):
    """Leftmost, then longest, one after another, whichever way they are found."""
    _check(pattern, flags, text)


@pytest.mark.slow
@settings(max_examples=200)
@given(unescaped, st.sampled_from(["EI", "EIN"]), some_texts)
def test_extended_expressions_in_any_case(pattern, flags, text):
    """Letters stand for both cases; libc itself fails at escaped ones, so there are none here."""
    _check(pattern, flags, text)


@settings(max_examples=200)
@given(
    _expressions(atoms | escaped, "^{}") | _expressions(atoms | escaped, "{}$"),
    st.sampled_from(["E", "EN"]),
    some_texts,
)
def test_anchored_expressions(pattern, flags, text):
    """``^`` matches where each search starts, and ``$`` at the end (of lines, with N)."""
    _check(pattern, flags, text)


sets = st.sampled_from(["[a-z]", "[A-Za-z]", "[a-x<]", "[!.]", "[n.]", "x", "<", "."])


@settings(max_examples=200)
@given(st.lists(sets, min_size=2, max_size=5).map("".join), some_texts)
def test_sets_around_a_rare_byte(pattern, text):
    """Matches that overlap count once, from whichever byte they are found."""
    _check(pattern, "E", text)


@given(st.text("aA!.", min_size=1, max_size=4), st.sampled_from(["[a-z][!.][a-zA-Z]", "[a-z]!."]))
def test_sets_around_a_byte_that_is_not_rare(text, pattern):
    """Nor does it matter how often it is there."""
    _check(pattern, "E", text.encode() * 40)
    _check(pattern, "E", b"ab " * 200 + text.encode() + b"a!a" * 2)


@pytest.mark.parametrize(
    ("pattern", "pieces", "finder"),
    [
        ("<.{1,9}>", ["<", ">", "xx", "\n"], Gap),
        ("ab.{0,12}>x", ["a", "ab", ">", "x", ">x"], Gap),
        ("<[^a].{2,10}>", ["<", "a", ">", "xx"], Gap),
        (r"n[^#][^\n]+[a-z]xx", ["n", "#", "ab", "xx", "axx", "\\"], Run),
    ],
)
@settings(max_examples=400)
@given(data=st.data())
def test_gaps_and_runs(pattern, pieces, finder, data):
    """Chains that are found in ways of their own, of which one is for few matches in much text."""
    tree = posix.parse(pattern.encode(), extended=True, ignore_case=False, newline=False)
    [chain] = chains_of(tree, newline=False) or []
    assert finder.fits(chain)
    text = "".join(data.draw(st.lists(st.sampled_from(pieces), max_size=20))).encode()
    _check(pattern, "E", text)
    _check(pattern, "E", text + b"." * FEW_ENDINGS * 20)


BASIC = {
    "interval": r"a\{1,2\}b*",
    "group": r"\(ab\)*c",
    "star at the start": r"*a",
    "star in a group": r"\(*a\)",
    "star after an anchor": r"^*a",
    "braces are themselves": r"a{2}",
    "plus and mark are themselves": r"a+b?",
    "bar and parentheses are themselves": r"(a|b)",
    "anchors inside are themselves": r"a^b$c",
    "anchors of groups": r"\(^a\)\|\(b$\)",
    "operators of GNU": r"a\+b\?\|c",
    "words of GNU": r"\w\W\s\S",
}


@pytest.mark.parametrize("pattern", BASIC.values(), ids=BASIC)
@given(text=st.text("ab*{2}+?|()^$c \n", max_size=20).map(str.encode))
def test_basic_expressions(pattern, text):
    """Without the flag E the operators are other ones."""
    _check(pattern, "", text)


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [
        pytest.param(r"\(a\)\1", "", id="back-reference"),
        pytest.param(r"(a)\1", "E", id="back-reference, extended"),
        pytest.param("(a", "E", id="open group"),
        pytest.param("[a", "E", id="open bracket"),
        pytest.param("[b-a]", "E", id="range"),
        pytest.param("[[:letter:]]", "E", id="class"),
        pytest.param("[[.ab.]]", "E", id="collating element"),
        pytest.param("*a", "E", id="nothing to repeat"),
        pytest.param("^*", "E", id="repeated anchor"),
        pytest.param("a{2,1}", "E", id="interval"),
        pytest.param("a{99999}", "E", id="large interval"),
        pytest.param("a{x", "E", id="open interval"),
        pytest.param("a\\", "E", id="backslash at the end"),
        pytest.param(r"\bword", "E", id="assertion"),
        pytest.param("((a{100}b){100}c){100}", "E", id="too large"),
    ],
)
def test_what_is_not_posix_is_refused(pattern, flags):
    """With a reason, never by finding something else."""
    with pytest.raises(SyntaxProblem):
        list(regex.compile_pattern(pattern.encode(), flags).spans(b"text"))


def test_an_escaped_n_is_an_n():
    """Outside a bracket; inside, a backslash is itself."""
    assert regex.compile_pattern(rb"\n", "E").count(b"n\nn") == 2
    assert regex.compile_pattern(rb"[^\n]", "E").count(b"n\nn\\") == 1


@pytest.mark.parametrize("apart", [0, 10, 1000])
def test_matches_in_both_cases_go_however_many_they_are(apart):
    """What is between them stays as it is."""
    text = b"".join(match + b"X." * apart for match in (b"i.e.", b"I. e.", b"I.E."))
    compiled = regex.compile_pattern(rb"i\. ?e\.", "EI")
    assert compiled.count(text) == 3
    assert compiled.removed(text) == b"X." * apart * 3


repeated = st.tuples(st.sampled_from(["a", "b", "[ab]"]), repeats).map("".join)


@settings(max_examples=400)
@given(
    st.lists(repeated, min_size=1, max_size=3).map("".join),
    st.text("ab", max_size=12).map(str.encode),
)
def test_short_expressions_in_texts_of_two_bytes(pattern, text):
    """Where much matches, and each match decides where the next one begins."""
    _check(pattern, "E", text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [("a+", b"aa"), ("!{1,3}", b"!!"), ("aba+", b"abaaba"), ("a{2}a?", b"aaaa"), ("aba", b"ababa")],
)
def test_what_begins_with_a_literal_is_more_than_that(pattern, text):
    """Also where it has as many parts as the literal has bytes."""
    _check(pattern, "E", text)


@pytest.mark.parametrize(
    ("pattern", "is_sure"),
    [
        ("[A-Z][A-Z !]{8,}", True),
        ("https?://[^ ]{1,300}", True),
        ("xa*b[ab]+", True),
        ("aa*b[ab]+", False),
        ("x[ab]*[ab]{3,}", False),
        ("[A-Z][A-Z !]{50,}", False),
        ("[A-Z][A-Z !]{8,}|!A", False),  # "A!A!…": each "!A" has all that follows read again
        ("b?a*c", False),
        ("cb?a*d", True),
        ("a?a?a?a?c", True),
        ("a?a?a?a?a?c", False),
        ("/[*][^*]*[*]/", True),
        ("a[^b]*b", False),
        ("ba*[^b]*c", False),
        ("^[^a]*a|b", False),
        ("^[^a]*a", True),
    ],
)
def test_who_takes_what_it_reads_needs_no_automaton(pattern, is_sure):
    """A last link with enough bytes takes all that follow, unless another match begins there."""
    tree = posix.parse(pattern.encode(), extended=True, ignore_case=False, newline=False)
    chains = chains_of(tree, newline=False) or []
    is_alone = len(chains) == 1
    assert all(is_linear(each, newline=False, is_alone=is_alone) for each in chains) == is_sure


rows = st.tuples(st.sampled_from("ab"), st.sampled_from([1, 2, 63, 64, 65, 200]))
texts_of_rows = st.lists(rows, max_size=6).map(lambda each: "".join(a * n for a, n in each))


@settings(max_examples=200)
@given(_expressions(st.sampled_from(["a", "b", "[ab]"])), texts_of_rows.map(str.encode))
def test_what_was_read_in_vain_is_not_read_again(pattern, text):
    """Many matches of which each might have gone on to where others had come already."""
    _check(pattern, "E", text)


@pytest.mark.parametrize(
    ("pattern", "unit", "number"),
    [
        ("a|a*b", "a", 100_000),
        ("b|a[ab]*c|a", "ab", 100_000),
        ("b?a*c", "a", 0),
        ("[ab]*a[ab]*c", "ab", 0),
        (".*.*x", "a", 0),
        ("a.*b.*c", "ab", 0),
        ("a?" * 20 + "c", "a", 0),
        ("(a|b)*?c", "aab", 0),
    ],
)
def test_no_expression_takes_more_than_linear_time(pattern, unit, number):
    """A text of 100 KB takes seconds at most; a step for each pair of bytes would take minutes."""
    text = (unit * 100_000)[:100_000].encode()
    compiled = regex.compile_pattern(pattern.encode(), "E")
    began = time.thread_time()
    assert compiled.count(text) == number
    assert time.thread_time() - began < 5
