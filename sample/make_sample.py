"""
Make the sample: a stand-in review service on disk, with edits of articles that do not exist.

    python sample/make_sample.py            # writes edit-groups.json and dumps/{id}.xml.gz here

The edits are written from a small grammar (``phrases.toml``) and a table of what people do to
articles, for better (``GOOD``) and for worse (``BAD``). Who edits, when, and with what comment
leans the same way as the text but overlaps, as it does in real life: some vandals have accounts,
many honest editors have none, some vandalism reads like an encyclopedia, some honest prose is
clumsy, and a few labels are wrong. The same seed gives the same bytes.
"""

import argparse
import gzip
import json
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent

SEED = 6  # any number would do
LABEL_NOISE = 0.03  # share of edits whose label is wrong: reviewers err, too
UNLABELLED = 0.012  # share of edits nobody has judged: they have no isVandalism
REVIEWED = 0.5  # share of edits with the review service's own elements
OVERLAP = 6  # edits of the 50/50 training group that are in its trial group again

FIFTY_FIFTY = "Original Testing Training Set - Random Edits 50/50"

SECTION = r"== \w[^=\n]* ==\n(?!\{\{)(?:.+\n)+\n"  # heading and body, not the references

DAY = 86400  # seconds
SUNDAY = 1262476800  # 2010-01-03 00:00 UTC: when the edits begin


@dataclass(frozen=True)
class Group:
    """An edit group: a row of the review service, and how many edits its dump gets."""

    id: int
    name: str
    type: str
    related_to: int | None
    edits: int
    vandalism: float  # share of the edits
    easy: float = 1.0  # chance of kinds of edits that are easily judged


GROUPS = (
    Group(1, FIFTY_FIFTY, "Generic", None, 12, 0.5),
    Group(2, f"{FIFTY_FIFTY} - Training", "Training", 1, 540, 0.5),
    Group(3, f"{FIFTY_FIFTY} - Trial", "Trial", 1, 320, 0.5),
    Group(4, "Report Interface Import", "Reported False Positives", None, 400, 0.45, easy=0.6),
    Group(5, "Sampled Main Namespace Edits", "Generic", None, 240, 0.25),
)


# ── The grammar ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Grammar:
    """Rules, each with its alternatives, and what an article fixed once (its title, its hero)."""

    rng: random.Random
    rules: Mapping[str, Sequence[str]]

    def text(self, rule: str) -> str:
        """Return one of the texts that *rule* stands for."""
        return self.filled(self.rng.choice(self.rules[rule]))

    def filled(self, pattern: str) -> str:
        """Return *pattern* with each ``{rule}`` and ``{low-high}`` replaced."""
        return re.sub(r"\{(\w+)\}|\{(\d+)-(\d+)\}", self._filling, pattern)

    def knowing(self, **known: str | Sequence[str]) -> "Grammar":
        """Return this grammar with some rules that have one meaning only, or other ones."""
        added = {
            name: [value] if isinstance(value, str) else value for name, value in known.items()
        }
        return replace(self, rules={**self.rules, **added})

    def _filling(self, found: re.Match[str]) -> str:
        if found[1]:
            return self.text(found[1])
        return str(self.rng.randint(int(found[2]), int(found[3])))


# ── Articles ─────────────────────────────────────────────────────────────────────────────────


Topic = Mapping[str, Sequence[str]]
"""What articles of one topic are made of: alternatives for each of their parts."""


@dataclass(frozen=True)
class Article:
    """An article: a title, wikitext, and a grammar that knows what it is about."""

    title: str
    text: str
    grammar: Grammar

    @property
    def rng(self) -> random.Random:
        """The one source of chance."""
        return self.grammar.rng


def article(grammar: Grammar, topics: Mapping[str, Topic]) -> Article:
    """Return a new article about one of *topics*."""
    topic = topics[grammar.rng.choice(sorted(topics))]
    about = grammar.knowing(
        home=grammar.text("place"), hero=grammar.text("person"), since=grammar.filled("{1750-1900}")
    )
    title = about.filled(grammar.rng.choice(topic["title"]))
    about = about.knowing(title=title[:1].upper() + title[1:])
    about = about.knowing(heading=topic["headings"], topic_sentence=topic["sentences"])
    return Article(about.text("title"), _wikitext(about, topic), about)


def _wikitext(about: Grammar, topic: Topic) -> str:
    rng = about.rng
    parts = [_infobox(about, topic)] if rng.random() < 0.6 else []
    parts.append(about.filled(rng.choice(topic["lead"])) + " " + _paragraph(about, 2))
    headings = topic["headings"]
    chosen = rng.sample(headings, rng.randint(1, 4))
    parts += [f"== {heading} ==\n{_paragraph(about, rng.randint(2, 5))}" for heading in chosen]
    if rng.random() < 0.3:
        parts.append(about.text("good_list").rstrip())
    parts.append("== References ==\n{{reflist}}")
    if rng.random() < 0.5:
        parts.append("== External links ==\n" + about.text("external").rstrip())
    categories = rng.sample(topic["categories"], 2)
    parts.append("\n".join(f"[[Category:{about.filled(name)}]]" for name in categories))
    return "\n\n".join(parts)


def _infobox(about: Grammar, topic: Topic) -> str:
    fields = "\n".join(f"| {about.filled(line)}" for line in topic["fields"])
    return f"{{{{{topic['infobox'][0]}\n{fields}\n}}}}"


def _paragraph(about: Grammar, sentences: int) -> str:
    return " ".join(_good_sentence(about) for _ in range(sentences))


def _good_sentence(about: Grammar) -> str:
    sentence = about.text("good_sentence")
    return sentence + about.text("reference") if about.rng.random() < 0.2 else sentence


# ── What people do to articles ───────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Change:
    """What an edit does: the text before it (None: there was no page) and after, its comment."""

    before: str | None
    after: str
    comment: str


Act = Callable[[Article], Change]


@dataclass(frozen=True)
class Kind:
    """
    A kind of edit.

    Attributes:
        weight: How often it happens, relative to the others of its table.
        act: What is done.
        hard: Whether it is easily misjudged.
        by: Who does it: shares of the people in ``PEOPLE``; by default those of its table.
    """

    weight: int
    act: Act
    hard: bool = False
    by: Mapping[str, int] = field(default_factory=dict)


def fix_typo(page: Article) -> Change:
    """Two letters that had changed places are put right."""
    at = _any(page, r"(?<=[a-z]{2})([a-z])(?!\1)[a-z](?=[a-z])").start()
    wrong = page.text[:at] + page.text[at + 1] + page.text[at] + page.text[at + 2 :]
    return Change(wrong, page.text, _comment(page, "comment_typo"))


def add_sentences(page: Article) -> Change:
    """One to three sentences more, at the end of a sentence."""
    added = _paragraph(page.grammar, page.rng.randint(1, 3))
    return Change(page.text, _after_sentence(page, " " + added), _comment(page, "comment_add"))


def add_reference(page: Article) -> Change:
    """A sentence gets its source."""
    added = page.grammar.text("reference")
    return Change(page.text, _after_sentence(page, added), _comment(page, "comment_reference"))


def add_section(page: Article) -> Change:
    """A new section before the references."""
    body = _paragraph(page.grammar, page.rng.randint(2, 5))
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


# ── Who does it ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Person:
    """
    A sort of user; ranges are inclusive, powers of ten.

    Attributes:
        edits: Decimal exponents of the number of edits so far.
        age: Days since the registration (without an account: since the first edit).
        warned: How likely one more warning is.
    """

    edits: tuple[float, float]
    age: tuple[int, int]
    warned: float


PEOPLE = {
    "passer-by": Person(edits=(0.0, 1.5), age=(0, 200), warned=0.15),
    "troublemaker": Person(edits=(0.0, 1.7), age=(0, 200), warned=0.5),
    "newcomer": Person(edits=(0.0, 1.8), age=(0, 60), warned=0.2),
    "regular": Person(edits=(1.5, 3.5), age=(60, 1500), warned=0.2),
    "veteran": Person(edits=(3.0, 5.0), age=(700, 3000), warned=0.35),
}
UNDONE: tuple[Act, ...] = (insult, gibberish, shout, blank_section, prank)
WITHOUT_ACCOUNT = {"passer-by", "troublemaker"}
GOOD_PEOPLE = {"passer-by": 28, "troublemaker": 4, "newcomer": 15, "regular": 32, "veteran": 21}
CLUMSY_PEOPLE = {"passer-by": 50, "troublemaker": 8, "newcomer": 34, "regular": 8}
BAD_PEOPLE = {"passer-by": 32, "troublemaker": 37, "newcomer": 24, "regular": 6, "veteran": 1}

GOOD = (
    Kind(12, fix_typo),
    Kind(16, add_sentences),
    Kind(9, add_reference),
    Kind(7, add_section),
    Kind(5, add_category),
    Kind(8, link_words),
    Kind(3, move_section),
    Kind(5, remove_sentence, hard=True),
    Kind(3, remove_section, hard=True),
    Kind(8, correct_number, hard=True),
    Kind(9, revert, hard=True),
    Kind(4, add_list, hard=True),
    Kind(4, add_link, hard=True),
    Kind(2, create_page),
    Kind(4, quote, hard=True),
    Kind(10, write_clumsily, hard=True, by=CLUMSY_PEOPLE),
)
BAD = (
    Kind(18, insult),
    Kind(9, gibberish),
    Kind(9, shout),
    Kind(7, cry),
    Kind(11, chat),
    Kind(7, blank_page),
    Kind(5, blank_section, hard=True),
    Kind(8, prank, hard=True),
    Kind(5, falsify_number, hard=True),
    Kind(4, negate, hard=True),
    Kind(5, advertise),
    Kind(6, hoax, hard=True),
    Kind(4, test_markup),
)


@dataclass(frozen=True)
class Side:
    """
    Those who mean well, or those who do not: what they do, when and where.

    Attributes:
        kinds: What they do.
        people: Who they are: shares of the people in ``PEOPLE``.
        at_school: Share of edits in the afternoon of a schoolday.
        rest: How long the page had been left alone: decimal exponents of seconds.
        busy: How many recent edits the page had: decimal exponents.
        reverted: The largest share of these that was reverted.
    """

    kinds: Sequence[Kind]
    people: Mapping[str, int]
    at_school: float
    rest: tuple[float, float]
    busy: tuple[float, float]
    reverted: float


SIDES = {
    False: Side(GOOD, GOOD_PEOPLE, at_school=0.0, rest=(2.2, 7.2), busy=(0, 2.1), reverted=0.25),
    True: Side(BAD, BAD_PEOPLE, at_school=0.4, rest=(1.8, 6.6), busy=(0.3, 2.3), reverted=0.35),
}
"""Whether it is vandalism → those who do it."""


def address(rng: random.Random) -> str:
    """Return an IP address from a range kept for documentation."""
    if rng.random() < 0.08:
        return "2001:DB8:" + ":".join(f"{rng.randrange(16**4):X}" for _ in range(6))
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"


# ── Edits ────────────────────────────────────────────────────────────────────────────────────

Edit = dict[str, object]
"""An edit as its element's children: a value, or a dict of children."""


def edits(group: Group, grammar: Grammar, topics: Mapping[str, Topic]) -> Iterator[Edit]:
    """Yield the edits of *group*, each with an EditID that no other edit of the group has."""
    rng = grammar.rng
    for number in rng.sample(range(200_000_000, 420_000_000), group.edits):
        bad = rng.random() < group.vandalism
        kind = _kind(rng, SIDES[bad], easy=group.easy)
        yield {**_edit(number, kind, SIDES[bad], article(grammar, topics)), **_label(rng, bad)}


def _kind(rng: random.Random, side: Side, easy: float) -> Kind:
    """Return a kind of edit; one that is easily judged only counts with the chance *easy*."""
    kinds = [kind for kind in side.kinds if kind.hard or rng.random() < easy]
    return rng.choices(kinds, [kind.weight for kind in kinds])[0]


def _label(rng: random.Random, bad: bool) -> Edit:  # noqa: FBT001 -- it is the thing itself
    """Return what the reviewers said; a few err, and some edits nobody has judged."""
    if rng.random() < UNLABELLED:
        return {}
    label: Edit = {"isVandalism": _boolean(bad != (rng.random() < LABEL_NOISE))}
    return {**label, "ReviewInterface": _review(rng)} if rng.random() < REVIEWED else label


def _edit(number: int, kind: Kind, side: Side, page: Article) -> Edit:
    rng = page.rng
    shares = kind.by or side.people
    who = rng.choices(list(shares), list(shares.values()))[0]
    change = kind.act(page)
    time = _time(rng, side.at_school)
    edit: Edit = {"EditDB": _edit_db(rng, time)} if rng.random() < REVIEWED else {}
    edit |= {"EditType": "change", "EditID": number, "comment": change.comment}
    edit |= _user(who, page, time) | {"common": _common(page, change, time, side)}
    minor = _boolean(_is_minor(who, change, rng))
    edit["current"] = {"minor": minor, "timestamp": time, "text": change.after}
    if change.before is not None:
        earlier = time - int(10 ** rng.uniform(*side.rest))
        edit["previous"] = {"timestamp": earlier, "text": change.before}
    return edit


def _boolean(value: bool) -> str:  # noqa: FBT001 -- it is the thing itself
    return "true" if value else "false"


def _time(rng: random.Random, at_school: float) -> int:
    """Return when: with that chance in the afternoon of a schoolday, else at any time."""
    afternoon = rng.random() < at_school
    day = rng.randrange(40) * 7 + (rng.randrange(1, 6) if afternoon else rng.randrange(7))
    hour = rng.randrange(13, 21) if afternoon else rng.randrange(24)
    return SUNDAY + day * DAY + hour * 3600 + rng.randrange(3600)


def _user(who: str, page: Article, time: int) -> Edit:
    rng, person = page.rng, PEOPLE[who]
    made = int(10 ** rng.uniform(*person.edits))
    warns = next(count for count in range(99) if rng.random() >= person.warned)
    return {
        "user": _user_name(who, page),
        "user_edit_count": made,
        "user_distinct_pages": max(1, int(made * rng.uniform(0.2, 0.9))),
        "user_warns": warns,
        "prev_user": _user_name(rng.choice(list(PEOPLE)), page),
        "user_reg_time": time - rng.randint(*person.age) * DAY - rng.randrange(DAY),
    }


def _user_name(who: str, page: Article) -> str:
    if who in WITHOUT_ACCOUNT:
        return address(page.rng)
    return page.grammar.text("young_account" if who == "newcomer" else "account")


def _common(page: Article, change: Change, time: int, side: Side) -> Edit:
    rng = page.rng
    new = change.before is None
    recent = 0 if new else int(10 ** rng.uniform(*side.busy))
    return {
        "page_made_time": time if new else time - rng.randint(100, 3000) * DAY,
        "title": page.title,
        "namespace": "Main",
        "creator": page.grammar.text("account"),
        "num_recent_edits": recent,
        "num_recent_reversions": int(recent * rng.uniform(0, side.reverted)),
    }


def _is_minor(who: str, change: Change, rng: random.Random) -> bool:
    small = abs(len(change.after) - len(change.before or "")) < 20
    return small and who not in WITHOUT_ACCOUNT and rng.random() < 0.5


def _edit_db(rng: random.Random, time: int) -> Edit:
    source = rng.choice(("Random Edits", "Report Interface", "Sampled Edits"))
    return {"isActive": "true", "source": source, "lastUpdated": time + rng.randint(1, 90) * DAY}


def _review(rng: random.Random) -> Edit:
    reviewers = rng.randint(0, 4)
    agreeing = max(0, reviewers - rng.choice((0, 0, 0, 1)))
    status = "Done" if reviewers > 1 else rng.choice(("Done", "In Progress"))
    return {"status": status, "reviewers": reviewers, "reviewers_agreeing": agreeing}


# ── The stand-in service ─────────────────────────────────────────────────────────────────────


def xml(name: str, value: object, depth: int = 0) -> str:
    """Return the element *name* with *value*, which is a text, a number or a dict of children."""
    indent = " " * depth
    if isinstance(value, dict):
        children = "".join(xml(child, inner, depth + 1) for child, inner in value.items())
        return f"{indent}<{name}>\n{children}{indent}</{name}>\n"
    text = escape(str(value), {'"': "&quot;"})
    return f"{indent}<{name}>{text}</{name}>\n" if text else f"{indent}<{name}/>\n"


def dump(members: Sequence[Edit]) -> bytes:
    """Return the dump of an edit group, as the review service streams it."""
    body = "".join(xml("WPEdit", edit) for edit in members)
    return f'<?xml version="1.0"?>\n<WPEditSet>\n{body}</WPEditSet>\n'.encode()


def dumps(seed: int) -> Iterator[tuple[Group, bytes]]:
    """Yield every group with its dump; each has a seed of its own, so that none changes others."""
    phrases = tomllib.loads((HERE / "phrases.toml").read_text(encoding="utf-8"))
    seen: dict[int, list[Edit]] = {}
    for group in GROUPS:
        rng = random.Random(f"{seed}/{group.id}")
        members = list(edits(group, Grammar(rng, phrases["rules"]), phrases["topics"]))
        if group.type == "Trial" and group.related_to is not None:
            members[:OVERLAP] = seen[group.related_to][:OVERLAP]
            rng.shuffle(members)
        if group.type == "Training" and group.related_to is not None:
            seen[group.related_to] = members
        yield group, dump(members)


def edit_groups() -> str:
    """Return what ``GET /api/v1/edit-groups/`` answers."""
    rows = [
        {"id": group.id, "name": group.name, "related_to": group.related_to, "type": group.type}
        for group in GROUPS
    ]
    return json.dumps(rows, indent=2) + "\n"


def write_gzip(path: Path, data: bytes) -> None:
    """Write *data* compressed, without a name or a time, so that equal data gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(data)


def main() -> None:
    """Write the sample."""
    parser = argparse.ArgumentParser(
        description="Make the sample: a stand-in review service on disk."
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another sample (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="where to (default: beside this script)"
    )
    options = parser.parse_args()
    folder = options.out / "dumps"
    folder.mkdir(parents=True, exist_ok=True)
    (options.out / "edit-groups.json").write_text(edit_groups(), encoding="utf-8")
    for group, data in dumps(options.seed):
        write_gzip(folder / f"{group.id}.xml.gz", data)
        print(f"{group.id}.xml.gz: {group.edits} edits, {group.name}")


if __name__ == "__main__":
    main()
