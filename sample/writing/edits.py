"""The edits of a group: who did what to which article, when, and what reviewers said."""

import random
from collections.abc import Iterator, Mapping

from sample.writing.acts import Change
from sample.writing.grammar import Article, Grammar, Topic, address, article
from sample.writing.groups import Group
from sample.writing.people import PEOPLE, SIDES, WITHOUT_ACCOUNT, Kind, Side

LABEL_NOISE = 0.03  # share of edits whose label is wrong: reviewers err, too
UNLABELLED = 0.012  # share of edits nobody has judged: they have no isVandalism
REVIEWED = 0.5  # share of edits with the review service's own elements

DAY = 86400  # seconds
SUNDAY = 1262476800  # 2010-01-03 00:00 UTC: when the edits begin

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
