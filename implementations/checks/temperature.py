"""Is the temperature sensible? The teacher reads the references, and its probabilities are held against them.

For every temperature of a sweep: the negative log-likelihood of the references (nats a token), the entropy of the
teacher's distribution, and its expected calibration error (Guo et al. 2017, 1706.04599, sec. 2 and 4.2: the temperature
that minimises the likelihood is the calibrated one). One forward pass over few rows; nothing is trained or sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..figures import number, share
from ..progress import Advance, Stages
from ..recipes.response_based import LOSS
from ..record import Estimate
from ..teachers import embedded
from ..teachers.local import check_folder, load
from ..transfer.chat import Row, row
from ..transfer.collate import RightPadding
from ..transfer.heads import check_head, last_hidden, logits_of
from .model import Case, Check, Decision

TEMPERATURES = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0)
ROWS, LONGEST = 32, 1024  # references that are read, and tokens of the longest row
FEWEST = 4  # of them
FAR = 2.0
BINS = 10  # of confidence, for the calibration error
RESAMPLES = 1000


@dataclass(frozen=True)
class Sweep:
    """Sums over each row's ``tokens``, (rows, temperatures), in nats: ``nll``, ``entropy``. ``ece`` (temperatures,)."""

    nll: np.ndarray
    entropy: np.ndarray
    tokens: np.ndarray
    ece: np.ndarray

    def best(self) -> Estimate:
        """The temperature with the lowest likelihood loss, and the interval of it when rows are drawn again."""
        n = len(self.tokens)
        drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES)  # (R, rows)
        chosen = np.array(TEMPERATURES)[(drawn @ self.nll).argmin(axis=1)]
        low, high = np.quantile(chosen, [0.025, 0.975], method="nearest")
        return Estimate(value=TEMPERATURES[self.nll.sum(axis=0).argmin()], low=low, high=high, n=int(self.tokens.sum()))


def temperature(case: Case, stages: Stages) -> Check:
    """The recipe's temperature against the one that calibrates this teacher. Raises InputError for a broken model."""
    folder = _folder(case, stages)
    model, tokenizer = load(folder, case.device)
    check_head(model, f"the teacher ({folder.name})")
    rows = [row(tokenizer, case.instruction, item.prompt, item.reference or "") for item in case.gold[:ROWS]]
    rows = [each for each in rows if len(each.input_ids) <= LONGEST]
    check = {"name": "temperature", "title": "Temperature", "source": f"{len(rows)} references, as {folder} reads them"}
    if len(rows) < FEWEST:
        what = f"{len(rows)} references of at most {LONGEST} tokens with their prompt are too few"
        return Check(**check, decision=Decision.UNSURE, what=what, mend="give more rows with a reference")
    with stages.stage("Read the references with the teacher", len(rows)) as advance:
        found = sweep(model, tokenizer.pad_token_id, rows, advance)
    best, used = found.best(), LOSS.temperature
    at, now = TEMPERATURES.index(best.value), TEMPERATURES.index(used)
    entropy, nll = (sums.sum(axis=0) / found.tokens.sum() for sums in (found.entropy, found.nll))
    decision = _judge(best, used)
    return Check(
        **check,
        decision=decision,
        what=f"calibrated at T = {number(best.value)} ({number(best.low)} – {number(best.high)}), the recipe's is "
        f"{number(used)}; at {number(used)} and {number(best.value)}: entropy {number(entropy[now])} and "
        f"{number(entropy[at])} nats, calibration error {share(found.ece[now])} and {share(found.ece[at])}, "
        f"loss {number(nll[now])} and {number(nll[at])} nats a token",
        estimate=best,
        mend=""
        if decision is Decision.GO
        else "a run tunes the model that gives the distributions first, which changes this; if the tuned one is off as "
        "well, set LOSS in implementations/recipes/response_based.py",
    )


def _judge(best: Estimate, used: float) -> Decision:
    """Whether ``used`` may be the calibrated temperature; off by more than a factor of ``FAR`` is a no-go."""
    if best.low <= used <= best.high:
        return Decision.GO
    return Decision.NO_GO if best.low > FAR * used or best.high < used / FAR else Decision.UNSURE


@torch.inference_mode()
def sweep(model: torch.nn.Module, pad_token_id: int, rows: list[Row], advance: Advance) -> Sweep:
    """What ``model`` says of the completions of ``rows`` at every temperature; row by row, to need little memory."""
    model.eval()
    sums, confidences, hits = [], [], []
    for number_, each in enumerate(rows, 1):
        batch = RightPadding(pad_token_id)([vars(each)])
        ids, positions = (batch[name].to(model.device) for name in ("input_ids", "positions"))
        logits = logits_of(model, last_hidden(model, ids, positions)).float().cpu()
        nll, entropy, confidence = zip(*(_at(logits / t, batch["labels"]) for t in TEMPERATURES), strict=True)
        sums.append((nll, entropy))
        confidences.append(np.stack(confidence))
        hits.append((logits.argmax(-1) == batch["labels"]).numpy())
        advance(number_)
    nll, entropy = (np.array(values) for values in zip(*sums, strict=True))
    hit = np.concatenate(hits)
    ece = np.array([_ece(confidence, hit) for confidence in np.concatenate(confidences, axis=1)])
    return Sweep(nll, entropy, np.array([each.completion for each in rows]), ece)


def _at(logits: Tensor, labels: Tensor) -> tuple[float, float, np.ndarray]:
    """Summed likelihood loss and entropy of the tokens, and the probability of each one's likeliest."""
    log_p = logits.log_softmax(-1)
    nll = -log_p.gather(-1, labels[:, None]).sum().item()
    return nll, -(log_p.exp() * log_p).sum().item(), log_p.max(-1).values.exp().numpy()


def _ece(confidence: np.ndarray, hit: np.ndarray) -> float:
    """Expected calibration error in ``BINS`` equal bins of confidence (Guo et al. 2017, eq. 3)."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return sum(abs((confidence - hit)[bins == b].sum()) for b in range(BINS)) / len(hit)


def _folder(case: Case, stages: Stages) -> Path:
    """Where the weights are: those of the teacher, else of the assistant. The embedded model is unpacked once."""
    if case.assistant:
        return check_folder(case.assistant, "--assistant")
    if case.model:
        return check_folder(Path(case.model), "--teacher local:")
    return embedded.unpack(case.workdir, stages)
