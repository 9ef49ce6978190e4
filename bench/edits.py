"""
Edit sets for benchmarks: seeded, endless, and shaped like Wikipedia.

Every edit is made from its number alone, so a set of 400 is the beginning of a set of 8000. A
page is invented word by word from a vocabulary with Zipf's law, with links, templates,
references, headings and lists where articles have them; the edit changes a sentence, adds some,
vandalises or blanks. Nothing is taken from anybody's text.
"""

import random
from pathlib import Path
from xml.sax.saxutils import escape

from tqdm import tqdm

SEED = 7  # of the vocabulary; an edit's is its number

VOCABULARY = 60_000  # words; the thousandth is used about a thousandth as often as the first

PAGE_BYTES = 9_300  # of wiki text a page; twice that and its mark-up is 20 KB of XML an edit

VANDALISM = 0.4  # of the edits, as in the bot's own training sets

SYLLABLES = tuple(
    consonant + vowel + end
    for consonant in (
        "",
        "b",
        "c",
        "d",
        "f",
        "g",
        "h",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "st",
        "t",
        "tr",
        "v",
    )
    for vowel in "aeiou"
    for end in ("", "", "l", "n", "r", "s", "t")
)

RUDE = ("poop", "lol", "haha", "stupid", "sucks", "hi mom", "gay", "is a loser", "NOOB", "cool")


def write_edits(path: Path, number: int) -> None:
    """Write the first *number* edits, of about 20 KB each, as the review service dumps them."""
    words = _vocabulary()
    with path.open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0"?>\n<WPEditSet>\n')
        for i in tqdm(range(number), desc=path.name, unit="edit", disable=None, leave=False):
            file.write(_edit(i, words))
        file.write("</WPEditSet>\n")


def _vocabulary() -> tuple[list[str], list[float]]:
    """Return words, and their cumulative weights by Zipf's law."""
    rng = random.Random(SEED)
    words = sorted(
        {
            "".join(rng.choices(SYLLABLES, k=rng.choice((1, 2, 2, 3, 3, 4))))
            for _ in range(VOCABULARY)
        }
    )
    words = [word for word in words if word]
    rng.shuffle(words)
    total, cumulative = 0.0, []
    for rank in range(1, len(words) + 1):
        total += 1 / (rank + 2.7)  # Mandelbrot's correction of Zipf's law
        cumulative.append(total)
    return words, cumulative


def _edit(i: int, words: tuple[list[str], list[float]]) -> str:
    """Return the edit of number *i* as XML."""
    rng = random.Random(f"{SEED}/{i}")
    page = _Page(rng, *words)
    previous = page.text()
    is_vandalism = rng.random() < VANDALISM
    current, comment = page.vandalised(previous) if is_vandalism else page.improved(previous)
    time = 1_300_000_000 + i * 60
    anonymous = rng.random() < (0.8 if is_vandalism else 0.2)
    user = f"192.0.2.{rng.randrange(256)}" if anonymous else page.phrase(1).title()
    return f""" <WPEdit>
  <EditType>change</EditType>
  <EditID>{500_000_000 + i}</EditID>
  <comment>{escape(comment)}</comment>
  <user>{user}</user>
  <user_edit_count>{rng.randrange(5 if anonymous else 9000)}</user_edit_count>
  <user_distinct_pages>{rng.randrange(3 if anonymous else 2000)}</user_distinct_pages>
  <user_warns>{rng.randrange(3) if is_vandalism else 0}</user_warns>
  <prev_user>{page.phrase(1).title()}</prev_user>
  <user_reg_time>{time - rng.randrange(10**8)}</user_reg_time>
  <common>
   <page_made_time>{time - rng.randrange(3 * 10**8)}</page_made_time>
   <title>{page.title}</title>
   <namespace>Main</namespace>
   <creator>{page.phrase(1).title()}</creator>
   <num_recent_edits>{rng.randrange(40)}</num_recent_edits>
   <num_recent_reversions>{rng.randrange(6 if is_vandalism else 2)}</num_recent_reversions>
  </common>
  <current>
   <minor>{"true" if rng.random() < 0.2 else "false"}</minor>
   <timestamp>{time}</timestamp>
   <text>{escape(current)}</text>
  </current>
  <previous>
   <timestamp>{time - rng.randrange(10**6)}</timestamp>
   <text>{escape(previous)}</text>
  </previous>
  <isVandalism>{"true" if is_vandalism else "false"}</isVandalism>
 </WPEdit>
"""


class _Page:
    """A page of an invented encyclopedia, and what people do to it."""

    def __init__(self, rng: random.Random, words: list[str], cumulative: list[float]) -> None:
        self.rng = rng
        self.words = words
        self.cumulative = cumulative
        self.title = self.phrase(2).title()

    def phrase(self, number: int) -> str:
        return " ".join(self.rng.choices(self.words, cum_weights=self.cumulative, k=number))

    def text(self) -> str:
        """A whole article of about `PAGE_BYTES`."""
        parts = [
            f"{{{{Infobox {self.phrase(1)}\n| name = {self.title}\n",
            f"| image = {self.phrase(1)}.jpg\n",
            f"| established = {self.rng.randrange(1200, 2010)}\n}}}}\n'''{self.title}''' ",
        ]
        size = 0
        while size < PAGE_BYTES:
            parts.append(self.section())
            size += len(parts[-1])
        parts.append(
            f"\n==References==\n{{{{reflist}}}}\n\n[[Category:{self.phrase(2).title()}]]\n"
        )
        return "".join(parts)

    def section(self) -> str:
        """A heading, some paragraphs, at times a list."""
        section = f"\n=={self.phrase(2).capitalize()}==\n"
        section += "\n\n".join(self.paragraph() for _ in range(self.rng.randrange(1, 4)))
        if self.rng.random() < 0.3:
            items = range(self.rng.randrange(2, 7))
            section += "\n" + "\n".join(f"* [[{self.phrase(2)}]], {self.phrase(4)}" for _ in items)
        return section + "\n"

    def paragraph(self) -> str:
        return " ".join(self.sentence() for _ in range(self.rng.randrange(2, 7)))

    def sentence(self) -> str:
        """A sentence, with a link, a number, a quotation or a reference now and then."""
        text = self.phrase(self.rng.randrange(6, 20)).capitalize()
        chance = self.rng.random()
        if chance < 0.35:
            text += f" [[{self.phrase(2)}|{self.phrase(1)}]] {self.phrase(3)}"
        elif chance < 0.45:
            text += f" in {self.rng.randrange(1500, 2020)}, ''{self.phrase(2)}''"
        elif chance < 0.5:
            text += f', "{self.phrase(5)}" {self.phrase(2)}'
        if self.rng.random() < 0.12:
            address = f"http://www.example.org/{self.phrase(1)}/{self.rng.randrange(10**6)}"
            text += f"<ref>{{{{cite web |url={address} |title={self.phrase(4)}}}}}</ref>"
        return text + "."

    def improved(self, text: str) -> tuple[str, str]:
        """What a good edit makes of *text*, and its comment."""
        kind = self.rng.random()
        if kind < 0.4:  # a word or two put right
            return self.replaced(text, self.phrase(2)), "typo"
        if kind < 0.8:
            return self.inserted(text, f" {self.sentence()} {self.sentence()}"), self.phrase(3)
        if kind < 0.95:
            return self.inserted(
                text, self.section() + self.section()
            ), "/* expanded */ new section"
        return text[: len(text) * 2 // 3], "moved to an article of its own"

    def vandalised(self, text: str) -> tuple[str, str]:
        """What vandalism makes of *text*, and its comment."""
        kind = self.rng.random()
        rude = self.rng.choice(RUDE)
        if kind < 0.4:
            return self.inserted(text, f" {rude} {self.phrase(3)} {rude.upper()}!!! "), ""
        if kind < 0.6:
            return self.inserted(text, self.rng.choice("abhloxz!") * self.rng.randrange(5, 400)), ""
        if kind < 0.8:
            return self.replaced(text, f"{self.phrase(1)} {rude}"), "fixed"
        if kind < 0.92:
            return f"{rude} {self.phrase(6)}", ""
        return "", "blanked the page"

    def inserted(self, text: str, more: str) -> str:
        """*text* with *more* after one of its sentences."""
        at = text.find(".", self.rng.randrange(len(text)))
        return f"{text[: at + 1]}{more}{text[at + 1 :]}"

    def replaced(self, text: str, by: str) -> str:
        """*text* with one of its words replaced."""
        at = text.find(" ", self.rng.randrange(len(text)))
        end = text.find(" ", at + 1)
        return f"{text[: at + 1]}{by}{text[end:]}" if 0 <= at < end else text + by
