"""Articles that do not exist, written from a small grammar."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


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
    parts.append(about.filled(rng.choice(topic["lead"])) + " " + paragraph(about, 2))
    headings = topic["headings"]
    chosen = rng.sample(headings, rng.randint(1, 4))
    parts += [f"== {heading} ==\n{paragraph(about, rng.randint(2, 5))}" for heading in chosen]
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


def paragraph(about: Grammar, sentences: int) -> str:
    """Return so many sentences about the article."""
    return " ".join(_good_sentence(about) for _ in range(sentences))


def _good_sentence(about: Grammar) -> str:
    sentence = about.text("good_sentence")
    return sentence + about.text("reference") if about.rng.random() < 0.2 else sentence


def address(rng: random.Random) -> str:
    """Return an IP address from a range kept for documentation."""
    if rng.random() < 0.08:
        return "2001:DB8:" + ":".join(f"{rng.randrange(16**4):X}" for _ in range(6))
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(1, 254)}"
