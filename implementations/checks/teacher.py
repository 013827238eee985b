"""What follows from who the teacher is: what it gives, what its licence allows, and where your prompts would go."""

from __future__ import annotations

from .. import privacy
from ..figures import many
from ..registry import PLATFORMS, Signal
from ..teachers import terms
from ..teachers.open import destination_of
from ..teachers.terms import Status
from .model import Case, Check, Decision, Measured

ACCESS = {Signal.LOGITS: "weights", Signal.TOP_LOGPROBS: "logprobs", Signal.TEXT: "text_only"}  # the most comes first
LICENCE = {  # what a status leaves possible
    Status.ALLOWED: ["permitted"],
    Status.RESTRICTED: ["restricted", "forbidden"],  # which of them depends on what the student is for
    Status.MODEL_DEPENDENT: ["permitted", "restricted", "forbidden"],
    Status.NOT_VERIFIED: ["unknown"],
}


def access(case: Case) -> Measured:
    """What its platform declares that it gives."""
    platform = PLATFORMS[case.platform]
    most = next(signal for signal in ACCESS if signal in platform.gives)
    return Measured(
        dimension="teacher_access",
        values=[ACCESS[most]],
        what=f"{platform.title} gives {', '.join(s.value.replace('_', ' ') for s in Signal if s in platform.gives)}",
        source=f"the platform's declaration: {platform.why}",
        mend="",
    )


def licence(case: Case) -> Measured:
    """What was read of the provider's terms. The embedded teacher is Apache-2.0."""
    endpoint = destination_of(case.teacher).endpoint
    found = terms.find(case.platform, case.model, endpoint)
    if case.teacher == "local":
        values, what = ["permitted"], "the embedded teacher is Apache-2.0, which puts no condition on answers"
    elif found is None:
        values, what = ["unknown"], terms.unread(case.teacher, endpoint)
    else:
        values, what = LICENCE[found.status], f"{found.status}: {found.note}"
    return Measured(
        dimension="licence",
        values=values,
        what=what,
        source=f"{', '.join(found.sources)}, read {found.date}. {terms.NOTICE}" if found else "no note in terms.yml",
        mend=""
        if values == ["permitted"]
        else "read your agreement and the model's licence, then say --given licence=permitted, restricted or forbidden",
    )


def residency(case: Case) -> Measured:
    """Only the user knows: --allow-cloud says that prompts may leave, and no measure says that they must not."""
    may = ["may_leave", "region_bound"] if case.allow_cloud else ["may_leave", "region_bound", "must_stay"]
    return Measured(
        dimension="data_residency",
        values=may,
        what="--allow-cloud: they may go to a provider" if case.allow_cloud else "nobody said; text cannot tell",
        source="your options",
        mend="say --given data_residency=may_leave, region_bound or must_stay",
    )


def sensitivity(case: Case, known: Measured) -> Check:
    """What looks like an identifier in the prompts, against where they would go. ``known`` is of data_residency."""
    found = privacy.scan(item.prompt for item in case.items)
    what = ", ".join(f"{number} {kind}" for kind, number in found.items()) or "nothing that looks like an identifier"
    what = f"in {many(len(case.items), 'prompt')}: {what}"
    to = destination_of(case.teacher)
    if to.endpoint and to.leaves_machine:
        what += f"; they would go to {to.endpoint}"
    if not to.leaves_machine:
        decision, mend = Decision.GO, ""
        what += "; the teacher is on this machine"
    elif known.values == ["must_stay"]:
        decision, mend = Decision.NO_GO, "take a teacher on this machine: --teacher local:PATH or ollama:MODEL"
    elif found and not case.redact and not case.allow_cloud:
        decision = Decision.NO_GO
        mend = "give --redact, which replaces what was found, or --allow-cloud if they may leave as they are"
    elif case.allow_cloud:
        decision, mend = Decision.GO, ""
    else:
        decision, mend = Decision.UNSURE, "names and addresses are not recognized; give --allow-cloud if all may leave"
    return Check(
        name="sensitivity",
        title="Sensitivity",
        decision=decision,
        what=what,
        source="patterns and check digits of privacy.py, which also miss some",
        mend=mend,
    )
