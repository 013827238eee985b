"""What a pattern, a term, a reference and the vocabulary are made of.

These models are the single source of the catalogue's schema: `catalogue schema` prints their JSON Schema, and
`catalogue check` quotes their descriptions in its messages. Fields stand in the order of the page.

Two rules hold for all of them: a key that is not listed here is an error, and text is never converted. So
quote a version or a year ("1.10"): YAML reads it as a number and would drop the zero.

How text is written
-------------------
`Line` is one line, `Prose` is one or more paragraphs. Both are a small part of Markdown and nothing else:

    **bold**   *emphasis*   `code`   - a list   1. a numbered list   a blank line between paragraphs
    [label](https://…)                     a link to elsewhere
    [label](term:soft-label)               a link to a term
    [label](pattern:sequence-level)        a link to a pattern
    [@hinton2015, sec. 2]                  a citation: a key of patterns/_references.yml, then where in it;
    [@hinton2015, sec. 2; @kim2016, p. 3]  several are parted by semicolons
    [[record: retention | percent]]        a figure of the pattern's measured record; see builder/figures.py

HTML is not allowed. A figure (a number that measures something) needs a citation in its own sentence or must
be read from the record; builder/check.py says exactly which numbers are exempt.
"""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Prose(str):
    """Paragraphs in the small part of Markdown described above."""

    format = "prose"

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(min_length=1, strip_whitespace=True)
        return core_schema.no_info_after_validator_function(
            cls.parse, text, metadata={"pydantic_js_updates": {"format": cls.format}}
        )


class Line(Prose):
    """One line of the same, without paragraphs or lists."""

    format = "line"

    @classmethod
    def parse(cls, text: str) -> Self:
        if "\n" in text:
            raise PydanticCustomError("one_line", "must be one line")
        return cls(text)


def _day(text: str) -> str:
    """A date, or a month or year, that the calendar has."""
    try:
        date.fromisoformat(text + "-01-01"[len(text) - 4 :])
    except ValueError:
        raise PydanticCustomError("no_day", "is no day of the calendar") from None
    return text


Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Plain = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True, pattern=r"^[^\n]+$")]
Date = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_day)]
PartialDate = Annotated[str, StringConstraints(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$"), AfterValidator(_day)]
Version = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+(\.\d+)?$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"]+$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# -------------------------------------------------------------------------------------------------- patterns


class PatternStatus(StrEnum):
    DRAFT = "draft"
    STABLE = "stable"
    RETIRED = "retired"


class Criterion(Strict):
    """A condition that a program can weigh: the reader's answer on one dimension is one of these values."""

    dimension: Key = Field(description="a key of `dimensions` in patterns/_vocabulary.yml")
    values: list[Key] = Field(alias="in", min_length=1, description="values of it, any of which fits")


class Guidance(Strict):
    """One reason to take the pattern, or to leave it."""

    text: Prose = Field(description="the reason, as a reader in a hurry needs it")
    criterion: Criterion = Field(description="the same reason as data, for the chooser and `distill check`")


class Architecture(Strict):
    diagram: str = Field(min_length=1, description="a Mermaid flowchart or sequence diagram")
    alt: Prose = Field(description="the diagram told in words, for whoever cannot see it")
    explanation: Prose = Field(description="what each part does and why it is there")


class Implementation(Strict):
    """Whether a cell is direct, bridged or not yet is computed from implementations/registry.py."""

    task: Prose = Field(description="the running example: what goes in, what comes out, how it is scored")
    platforms: dict[Slug, Prose] = Field(
        description="platform of implementations/registry.py → what to know when the teacher lives there"
    )


class Performance(Strict):
    """Commentary only. The figures themselves stand in the record and are quoted with [[record: …]]."""

    introduction: Prose = Field(description="what was measured, how, and how far it carries")
    latency: Prose = Field(description="how long one answer takes and what decides it")
    throughput: Prose = Field(description="how many tokens a second and what decides it")
    resource_usage: Prose = Field(description="memory, disk, training time and tokens, and what decides them")


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"


class Tradeoff(Strict):
    axis: Key = Field(description="a key of `axes` in patterns/_vocabulary.yml")
    direction: Direction = Field(description="the way the pattern moves that axis: up or down")
    text: Prose = Field(description="what is gained or lost, and when")
    evidence: Prose = Field(description="how we know: a citation, a record figure, or an argument")


class Tradeoffs(Strict):
    """The axis says which direction is better; an advantage must go that way and a disadvantage the other."""

    advantages: list[Tradeoff] = Field(min_length=1, description="what the pattern makes better")
    disadvantages: list[Tradeoff] = Field(min_length=1, description="what the pattern makes worse")


class UseCase(Strict):
    title: Line = Field(description="the case in a few words")
    domain: Key = Field(description="a key of `domains` in patterns/_vocabulary.yml")
    text: Prose = Field(description="who does what with it, and what to watch")


class Pillar(Strict):
    supports: Prose = Field(description="how the pattern helps this pillar")
    costs: Prose = Field(description="what it asks of this pillar in return")


class WellArchitected(Strict):
    """All six pillars: a pattern that costs nothing under some pillar has not been thought through."""

    operational_excellence: Pillar = Field(title="Operational excellence", description="running it day by day")
    security: Pillar = Field(title="Security", description="data, access, licences")
    reliability: Pillar = Field(title="Reliability", description="failing, recovering, degrading")
    cost_optimization: Pillar = Field(title="Cost optimization", description="what it saves and spends")
    performance: Pillar = Field(title="Performance efficiency", description="using the hardware well")
    sustainability: Pillar = Field(title="Sustainability", description="energy and hardware over its life")


class Tier(Strict):
    topology: Prose = Field(description="what runs where")
    differences: Prose = Field(description="what changes against the tier before it")
    guidance: Prose = Field(description="when to choose this tier and what to take care of")


class Deployment(Strict):
    """All four tiers, from one zone to a mix of cloud and one's own premises."""

    zonal: Tier = Field(title="Zonal", description="one zone of one region")
    regional: Tier = Field(title="Regional", description="several zones of one region")
    multi_regional: Tier = Field(title="Multi-regional", description="several regions")
    hybrid: Tier = Field(title="Hybrid", description="cloud together with one's own machines")


class Related(Strict):
    slug: Slug = Field(description="another pattern, or one of `planned` in patterns/_vocabulary.yml")
    relation: Key = Field(description="a key of `relations` in patterns/_vocabulary.yml")
    why: Prose = Field(description="why a reader of this pattern would look there")


class Change(Strict):
    version: Version = Field(description='the version, quoted: "1.0"')
    date: Date = Field(description="the day of the change, as 2026-11-22")
    change: Prose = Field(description="what changed for the reader")


class Pattern(Strict):
    """One pattern: patterns/<slug>.yml."""

    slug: Slug = Field(description="the file's name without .yml; also the page's address")
    title: Line = Field(description="the pattern's name")
    aliases: list[Plain] = Field(default=[], description="other names people search for")
    summary: Line = Field(description="one sentence: what it does and for whom")
    status: PatternStatus = Field(description="draft, stable or retired")
    created: Date = Field(description="the day it was first published, as 2026-11-22")
    updated: Date = Field(description="the day of the newest entry of `history`")
    tags: list[Slug] = Field(min_length=1, description="short labels for finding it")
    overview: Prose = Field(description="what the pattern is, how it works, what it is not")
    presupposes: Line | None = Field(default=None, description="what must be there already and no question asks for")
    when_to_use: list[Guidance] = Field(min_length=1, description="reasons to take it")
    when_not_to_use: list[Guidance] = Field(min_length=1, description="reasons to leave it")
    architecture: Architecture = Field(description="the diagram, the same in words, and its explanation")
    implementation: Implementation = Field(description="the running example and a note for every platform")
    performance: Performance = Field(description="commentary on the measured figures")
    tradeoffs: Tradeoffs = Field(description="advantages and disadvantages, with evidence")
    use_cases: list[UseCase] = Field(min_length=2, description="one in healthcare and one general at least")
    well_architected: WellArchitected = Field(description="all six pillars")
    deployment: Deployment = Field(description="all four tiers")
    related: list[Related] = Field(min_length=1, description="patterns to read next")
    history: list[Change] = Field(min_length=1, description="versions, newest first")

    def __hash__(self) -> int:
        return hash(self.slug)  # its lists have none; so what is computed of one can be kept


# ----------------------------------------------------------------------------------------------------- terms


class Difficulty(StrEnum):
    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"


class Level(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Ref(Strict):
    reference: Key = Field(description="a key of patterns/_references.yml")
    locator: Plain | None = Field(
        default=None, description="where in the work, needed for papers: sec. 2, tab. 1, p. 4"
    )
    note: Line | None = Field(default=None, description="what the reader finds there")


class Term(Strict):
    """One glossary entry: glossary/<slug>.yml. Its `citation` block is computed, see `Citation`."""

    slug: Slug = Field(description="the file's name without .yml; also the page's address")
    term: Line = Field(description="the term as one writes it in a sentence")
    category: Key = Field(description="a key of `categories` in patterns/_vocabulary.yml")
    difficulty: Difficulty = Field(description="beginner, intermediate or advanced")
    short: Line = Field(description="the meaning in one sentence; shown in lists and tooltips")
    long: Prose = Field(description="the meaning in full, with an example")
    aliases: list[Plain] = Field(description="other names, abbreviations and plurals; [] if there are none")
    tags: list[Slug] = Field(min_length=1, description="short labels for finding it")
    misconception: Prose = Field(description="what people wrongly believe about it, and what is true instead")
    why_it_matters: Prose = Field(description="what goes better for whoever understands it")
    common_mistakes: list[Prose] = Field(min_length=1, description="mistakes, each with its consequence")
    when_to_use: list[Prose] = Field(min_length=1, description="situations in which to reach for it")
    avoid_when: list[Prose] = Field(min_length=1, description="situations in which to leave it alone")
    related: list[Slug] = Field(description="slugs of other terms; [] if there are none")
    prerequisites: list[Slug] = Field(description="slugs of terms to read first; [] if there are none")
    refs: list[Ref] = Field(min_length=1, description="where to read more; citations in the text are added")
    quick_fix: Prose = Field(description="the one thing to do today when this has gone wrong")
    severity: Level = Field(description="how much getting it wrong costs: low, medium or high")
    effort: Level = Field(description="how much work the quick fix is: low, medium or high")
    created: Date = Field(description="the day it was first published, as 2026-11-22")
    updated: Date = Field(description="the day of its last change, as 2026-11-22")

    def __hash__(self) -> int:
        return hash(self.slug)  # its lists have none; so what is computed of one can be kept


class Citation(Strict):
    """How to cite a page. Computed from its place, the site's address and the vocabulary."""

    canonical_url: Url = Field(description="the address to cite")
    html_url: Url = Field(description="the page")
    json_url: Url = Field(description="the same entry as JSON")
    source: Plain = Field(description="the name of this catalogue")
    author: Plain = Field(description="who wrote it")
    licence: Plain = Field(description="the licence of the text, as an SPDX identifier")
    usage: Plain = Field(description="what one may do with it, in a sentence")


# ---------------------------------------------------------------------------------------------------- claims


class Support(StrEnum):
    """What the primary source says of a claim."""

    SUPPORTED = "supported"
    CONDITIONAL = "supported under conditions"
    UNSUPPORTED = "not supported"
    UNSOURCED = "no source found"


class OwnMeasurement(Strict):
    """What this catalogue measured of the same question."""

    pattern: Slug = Field(description="the pattern whose record the text quotes")
    task: Slug | None = Field(default=None, description="the task of that record, where it is not the pattern's own")
    text: Prose = Field(description="what its record says, with [[record: …]]; it counts for that run alone")


class Claim(Strict):
    """A figure that people repeat: an entry of patterns/_claims.yml. Its key is its anchor on the page."""

    title: Line = Field(description="the claim as a heading, without a figure")
    claim: Prose = Field(description="the claim as people say it, with somebody who does")
    said_by: Prose = Field(description="who repeats it and in which words, cited")
    source: Prose = Field(description="the primary source, and what it measured: task, models, metric, condition")
    verdict: Support = Field(description="what that source says of the claim as it is repeated")
    takeaway: Prose = Field(description="what to take from it, in two sentences")
    measured: list[OwnMeasurement] = Field(default=[], description="our own measurements of the same question")
    patterns: list[Slug] = Field(description="slugs of the patterns it is about; [] if there are none")
    terms: list[Slug] = Field(description="slugs of the terms it is about; [] if there are none")
    checked: Date = Field(description="the day the sources were last looked up, as 2026-11-22")

    def __hash__(self) -> int:
        return hash(self.title)  # its lists have none; so what is computed of one can be kept


# ------------------------------------------------------------------------------------------------ references


class ReferenceType(StrEnum):
    """Names of the Citation Style Language."""

    ARTICLE = "article"  # a preprint
    ARTICLE_JOURNAL = "article-journal"
    PAPER_CONFERENCE = "paper-conference"
    BOOK = "book"
    CHAPTER = "chapter"
    REPORT = "report"
    STANDARD = "standard"
    WEBPAGE = "webpage"
    POST_WEBLOG = "post-weblog"
    SOFTWARE = "software"
    DATASET = "dataset"

    @property
    def has_locators(self) -> bool:
        """Whether it has sections or pages, so that a citation must say which."""
        return self not in {
            ReferenceType.WEBPAGE,
            ReferenceType.POST_WEBLOG,
            ReferenceType.SOFTWARE,
            ReferenceType.DATASET,
        }


class Author(Strict):
    """A person (`family`, `given`) or an organisation (`literal`)."""

    family: Plain | None = Field(default=None, description="a person's family name")
    given: Plain | None = Field(default=None, description="a person's given names or initials")
    literal: Plain | None = Field(default=None, description="an organisation, or a name written as it stands")

    def model_post_init(self, context: Any) -> None:
        if (self.family is None) == (self.literal is None):
            raise PydanticCustomError("author", "needs either `family` or `literal`")


class Reference(Strict):
    """One work: an entry of patterns/_references.yml, in the manner of CSL-JSON. Its key is its id."""

    type: ReferenceType = Field(description="the kind of work, by its CSL name")
    title: Plain = Field(description="the title")
    author: list[Author] = Field(min_length=1, description="who wrote it")
    issued: PartialDate = Field(description='when it appeared, quoted if only a year: "2015"')
    container_title: Plain | None = Field(
        default=None, alias="container-title", description="the journal, proceedings or site it appeared in"
    )
    publisher: Plain | None = Field(default=None, description="who published it")
    URL: Url = Field(description="where to read it")
    DOI: Annotated[str, StringConstraints(pattern=r"^10\.\S+$")] | None = Field(
        default=None, description="its DOI without https://doi.org/"
    )
    accessed: Date = Field(description="the day somebody last read it there, as 2026-11-22")

    def __hash__(self) -> int:
        return hash(self.URL)  # its lists have none; so what is computed of one can be kept


# ------------------------------------------------------------------------------------------------ vocabulary


class Dimension(Strict):
    """Something a reader knows about his own case."""

    title: Line = Field(description="its name")
    question: Line = Field(description="the question that asks for it")
    values: dict[Key, Line] = Field(min_length=2, description="key → the answer as a reader would say it")


class Axis(Strict):
    """Something a pattern makes better or worse."""

    title: Line = Field(description="its name, as a quantity: “Answer quality”, “Serving cost”")
    better: Direction = Field(description="whether up or down is the better way")
    description: Line = Field(description="what is counted")


class Relation(Strict):
    title: Line = Field(description="how it reads on a page, before the other pattern's title")
    description: Line = Field(description="when to use it")


class Planned(Strict):
    title: Line = Field(description="the title it will have")
    summary: Line = Field(description="what it will be about")


class Publication(Strict):
    """The part of every citation block that is the same."""

    source: Plain = Field(description="the name of this catalogue")
    author: Plain = Field(description="who wrote it")
    licence: Plain = Field(description="the licence of the text, as an SPDX identifier")
    usage: Plain = Field(description="what one may do with it, in a sentence")


class Advice(Strict):
    """What some answers mean whatever the pattern: do not distil, or two of them do not go together."""

    answers: dict[Key, list[Key]] = Field(
        min_length=1, description="dimension → values; it holds where the case has one of them on each dimension"
    )
    text: Prose = Field(description="what follows from that, in two sentences")


class Vocabulary(Strict):
    """patterns/_vocabulary.yml: the words that patterns and terms may use."""

    publication: Publication = Field(description="what every citation block says")
    dimensions: dict[Key, Dimension] = Field(min_length=1, description="what decides which pattern fits")
    advice: list[Advice] = Field(default=[], description="what some answers mean whatever the pattern")
    axes: dict[Key, Axis] = Field(min_length=1, description="what trade-offs are about")
    relations: dict[Key, Relation] = Field(min_length=1, description="how patterns relate")
    domains: dict[Key, Line] = Field(min_length=1, description="key → domain of a use case")
    categories: dict[Key, Line] = Field(min_length=1, description="key → category of a term")
    planned: dict[Slug, Planned] = Field(description="patterns that are announced but have no page yet")
