"""What people do to articles, for better and for worse."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from sample.writing.grammar import Article, address, paragraph

SECTION = r"== \w[^=\n]* ==\n(?!\{\{)(?:.+\n)+\n"  # heading and body, not the references


@dataclass(frozen=True)
class Change:
    """What an edit does: the text before it (None: there was no page) and after, its comment."""

    before: str | None
    after: str
    comment: str


Act = Callable[[Article], Change]


def fix_typo(page: Article) -> Change:
    """Two letters that had changed places are put right."""
    at = _any(page, r"(?<=[a-z]{2})([a-z])(?!\1)[a-z](?=[a-z])").start()
    wrong = page.text[:at] + page.text[at + 1] + page.text[at] + page.text[at + 2 :]
    return Change(wrong, page.text, _comment(page, "comment_typo"))


def add_sentences(page: Article) -> Change:
    """One to three sentences more, at the end of a sentence."""
    added = paragraph(page.grammar, page.rng.randint(1, 3))
    return Change(page.text, _after_sentence(page, " " + added), _comment(page, "comment_add"))


def add_reference(page: Article) -> Change:
    """A sentence gets its source."""
    added = page.grammar.text("reference")
    return Change(page.text, _after_sentence(page, added), _comment(page, "comment_reference"))


def add_section(page: Article) -> Change:
    """A new section before the references."""
    body = paragraph(page.grammar, page.rng.randint(2, 5))
    section = f"== {page.grammar.text('heading')} ==\n{body}\n\n"
    after = page.text.replace("== References ==", section + "== References ==", 1)
    return Change(page.text, after, _comment(page, "comment_add"))


def add_category(page: Article) -> Change:
    """One more category."""
    added = page.grammar.filled("\n[[Category:{since} in {land}]]")
    return Change(page.text, page.text + added, _comment(page, "comment_tidy"))


def link_words(page: Article) -> Change:
    """Words become links."""
    word = _any(page, r"(?<=[a-z] )[a-z]{6,}(?= [a-z])")
    after = f"{page.text[: word.start()]}[[{word[0]}]]{page.text[word.end() :]}"
    return Change(page.text, after, _comment(page, "comment_tidy"))


def move_section(page: Article) -> Change:
    """Two parts of the article change places."""
    parts = page.text.split("\n\n")
    at = page.rng.randrange(1, len(parts) - 1)
    parts[at], parts[at + 1] = parts[at + 1], parts[at]
    return Change(page.text, "\n\n".join(parts), _comment(page, "comment_tidy"))


def remove_sentence(page: Article) -> Change:
    """A sentence goes, for a reason."""
    after = _without(page.text, _any(page, r"(?<=\. )[A-Z][^.\n]{20,}\. "))
    return Change(page.text, after, _comment(page, "comment_remove"))


def remove_section(page: Article) -> Change:
    """A whole section goes, for a reason."""
    after = _without(page.text, _any(page, SECTION))
    return Change(page.text, after, _comment(page, "comment_remove"))


def correct_number(page: Article) -> Change:
    """A year or a figure is put right."""
    return Change(page.text, _other_number(page), _comment(page, "comment_number"))


def revert(page: Article) -> Change:
    """Somebody else's vandalism is undone."""
    worse = page.rng.choice(UNDONE)(page).after
    comment = page.grammar.knowing(vandal=address(page.rng)).text("comment_revert")
    return Change(worse, page.text, comment)


def add_list(page: Article) -> Change:
    """A list or a table of figures."""
    added = "\n\n" + page.grammar.text("good_list").rstrip()
    return Change(page.text, _after_paragraph(page, added), _comment(page, "comment_add"))


def add_link(page: Article) -> Change:
    """An external link that belongs there."""
    added = page.grammar.text("external")
    head, mark, tail = page.text.partition("== External links ==\n")
    after = head + mark + added + tail if mark else f"{head}\n\n== External links ==\n{added}"
    return Change(page.text, after, _comment(page, "comment_add"))


def create_page(page: Article) -> Change:
    """A new article."""
    return Change(None, page.text, _comment(page, "comment_create"))


def quote(page: Article) -> Change:
    """Rude or loud words, but somebody else's, and quoted."""
    added = " " + page.grammar.text("quotation")
    return Change(page.text, _after_sentence(page, added), _comment(page, "comment_add"))


def write_clumsily(page: Article) -> Change:
    """A newcomer means well and writes as people speak."""
    added = " ".join(page.grammar.text("newcomer") for _ in range(page.rng.randint(1, 2)))
    place = _after_sentence if page.rng.random() < 0.6 else _after_paragraph
    return Change(page.text, place(page, page.rng.choice((" ", "\n")) + added), _brief(page))


def insult(page: Article) -> Change:
    """Somebody is called names."""
    added = " " + _shaky(page, page.grammar.text("insult"))
    return Change(page.text, _somewhere(page, added), _excuse(page))


def gibberish(page: Article) -> Change:
    """A hand falls on the keyboard."""
    keys = "".join(page.grammar.text("keys") for _ in range(page.rng.randint(2, 9)))
    return Change(page.text, _somewhere(page, page.rng.choice((" ", "")) + keys), _excuse(page))


def shout(page: Article) -> Change:
    """Capital letters."""
    added = page.grammar.text("shout") + page.rng.choice(("", "!", "!!!", "!!!!!!!!"))
    times = page.rng.choice((1, 1, 2, 5))
    return Change(
        page.text, _somewhere(page, "\n" + " ".join([added] * times) + "\n"), _excuse(page)
    )


def cry(page: Article) -> Change:
    """The same syllable over and over."""
    added = page.grammar.text("cry") * page.rng.randint(5, 40)
    return Change(page.text, _somewhere(page, " " + added), _excuse(page))


def chat(page: Article) -> Change:
    """Somebody says hello."""
    added = " ".join(_shaky(page, page.grammar.text("chat")) for _ in range(page.rng.randint(1, 2)))
    return Change(page.text, _somewhere(page, " " + added), _excuse(page))


def blank_page(page: Article) -> Change:
    """Nothing is left, or next to nothing."""
    rest = page.rng.choice(
        ("", page.grammar.text("chat"), page.grammar.text("insult"), page.text[:80])
    )
    return Change(page.text, rest, _excuse(page))


def blank_section(page: Article) -> Change:
    """A section is cut out."""
    after = _without(page.text, _any(page, SECTION))
    return Change(page.text, after, _excuse(page))


def prank(page: Article) -> Change:
    """A word is replaced by another that does not belong there."""
    word = _any(page, r"\b[A-Za-z]{4,}\b")
    other = page.grammar.text("replacement")
    return Change(
        page.text, page.text[: word.start()] + other + page.text[word.end() :], _excuse(page)
    )


def falsify_number(page: Article) -> Change:
    """A year or a figure is made wrong: nothing in the text tells."""
    return Change(page.text, _other_number(page), _excuse(page))


def negate(page: Article) -> Change:
    """A sentence comes to mean the opposite."""
    word = _any(page, r"\b(is|was|are|were|has been)\b")
    added = page.rng.choice((" not", " never", " no longer"))
    return Change(page.text, _inserted(page, added, word.end()), _excuse(page))


def advertise(page: Article) -> Change:
    """Something is for sale."""
    added = " " + page.grammar.text("promotion")
    return Change(page.text, _after_sentence(page, added), _excuse(page))


def hoax(page: Article) -> Change:
    """It reads well and is not true."""
    added = " ".join(page.grammar.text("hoax") for _ in range(page.rng.randint(1, 2)))
    return Change(page.text, _after_sentence(page, " " + added), _excuse(page))


def test_markup(page: Article) -> Change:
    """The editor's buttons are tried out."""
    added = "".join(page.grammar.text("test_markup") for _ in range(page.rng.choice((1, 1, 2, 4))))
    return Change(page.text, _somewhere(page, added), _excuse(page))


def _any(page: Article, pattern: str) -> re.Match[str]:
    """Return one of the matches of *pattern* in the text; if there is none, one of its words."""
    found = list(re.finditer(pattern, page.text)) or list(re.finditer(r"\w{4,}", page.text))
    return page.rng.choice(found)


def _without(text: str, part: re.Match[str]) -> str:
    return text[: part.start()] + text[part.end() :]


def _inserted(page: Article, added: str, at: int) -> str:
    return page.text[:at] + added + page.text[at:]


def _after_sentence(page: Article, added: str) -> str:
    return _inserted(page, added, _any(page, r"[a-z\d]\.(?= |\n|<)").end())


def _after_paragraph(page: Article, added: str) -> str:
    return _inserted(page, added, _any(page, r"\.(?=\n\n)").end())


def _somewhere(page: Article, added: str) -> str:
    if page.rng.random() < 0.15:
        return added.strip() + "\n" + page.text
    return _inserted(page, added, _any(page, r"[a-z.](?=[ \n])").end())


def _other_number(page: Article) -> str:
    """Return the text with one digit of one number changed."""
    number = _any(page, r"\b\d{2,4}\b")
    at = page.rng.randrange(number.start(), number.end())
    digit = page.rng.choice([digit for digit in "123456789" if digit != page.text[at]])
    return page.text[:at] + digit + page.text[at + 1 :]


def _shaky(page: Article, text: str) -> str:
    """Return *text* as typed in a hurry, now and then."""
    return page.rng.choice(
        (text, text, text, text.upper(), text + "!!!", text + " lol", text.capitalize() + ".")
    )


def _comment(page: Article, rule: str) -> str:
    """Return a comment as most people write one."""
    chance = page.rng.random()
    if chance < 0.2:
        return ""
    return page.grammar.text("section_mark" if chance < 0.4 else rule)


def _brief(page: Article) -> str:
    """Return a newcomer's comment: mostly none."""
    chance = page.rng.random()
    if chance < 0.75:
        return page.rng.choice(("", page.grammar.text("section_mark")))
    return page.grammar.text(page.rng.choice(("comment_add", "comment_typo", "comment_vandal")))


def _excuse(page: Article) -> str:
    """Return a vandal's comment: mostly none, or as if nothing had happened."""
    chance = page.rng.random()
    if chance < 0.75:
        return page.rng.choice(("", page.grammar.text("section_mark")))
    return page.grammar.text("comment_vandal" if chance < 0.9 else "comment_add")


UNDONE: tuple[Act, ...] = (insult, gibberish, shout, blank_section, prank)
