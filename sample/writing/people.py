"""Who edits, which kinds of edits they make, and how often: tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sample.writing import acts
from sample.writing.acts import Act


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

WITHOUT_ACCOUNT = {"passer-by", "troublemaker"}
GOOD_PEOPLE = {"passer-by": 28, "troublemaker": 4, "newcomer": 15, "regular": 32, "veteran": 21}
CLUMSY_PEOPLE = {"passer-by": 50, "troublemaker": 8, "newcomer": 34, "regular": 8}
BAD_PEOPLE = {"passer-by": 32, "troublemaker": 37, "newcomer": 24, "regular": 6, "veteran": 1}

GOOD = (
    Kind(12, acts.fix_typo),
    Kind(16, acts.add_sentences),
    Kind(9, acts.add_reference),
    Kind(7, acts.add_section),
    Kind(5, acts.add_category),
    Kind(8, acts.link_words),
    Kind(3, acts.move_section),
    Kind(5, acts.remove_sentence, hard=True),
    Kind(3, acts.remove_section, hard=True),
    Kind(8, acts.correct_number, hard=True),
    Kind(9, acts.revert, hard=True),
    Kind(4, acts.add_list, hard=True),
    Kind(4, acts.add_link, hard=True),
    Kind(2, acts.create_page),
    Kind(4, acts.quote, hard=True),
    Kind(10, acts.write_clumsily, hard=True, by=CLUMSY_PEOPLE),
)
BAD = (
    Kind(18, acts.insult),
    Kind(9, acts.gibberish),
    Kind(9, acts.shout),
    Kind(7, acts.cry),
    Kind(11, acts.chat),
    Kind(7, acts.blank_page),
    Kind(5, acts.blank_section, hard=True),
    Kind(8, acts.prank, hard=True),
    Kind(5, acts.falsify_number, hard=True),
    Kind(4, acts.negate, hard=True),
    Kind(5, acts.advertise),
    Kind(6, acts.hoax, hard=True),
    Kind(4, acts.test_markup),
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
