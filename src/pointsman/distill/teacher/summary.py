"""What a run with a teacher comes to: what it cost, what was turned away, whether it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from pointsman.distill.rows import Row
from pointsman.distill.teacher.harvest import Kept
from pointsman.distill.teacher.ledger import Ledger
from pointsman.distill.teacher.noise import noisy
from pointsman.distill.teacher.prompts import PROMPTS_VERSION, prompts_sha256
from pointsman.distill.teacher.run import Outcome
from pointsman.errors import DistillError

__all__ = ["Summary", "check_rows", "json_lines", "summary_of", "training_rows"]

MIN_ROWS = 10
NOISE_EVERY = 7


class Summary(Struct, frozen=True, kw_only=True):
    """What the manifest and the report say of the teacher. Money in US dollars.

    `agreement` is how often its blind label was what it had been asked to write (`kappa`: above
    chance), over `agreement_rows`. `lost_usd`, part of `cost_usd`, is the upper bound of requests
    whose answers never came. `reasons` counts the rows that are missing, by reason. `curve` holds
    (rows, a student's agreement on held-out rows) on the way.
    """

    teacher: str
    prompts_version: str
    prompts_sha256: str
    seed: int
    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    lost_usd: float
    price_known: bool
    rows: int
    rejected: int
    reasons: dict[str, int]
    agreement: float
    agreement_rows: int
    kappa: float | None
    too_weak: bool
    curve: list[tuple[int, float]]
    ended: str
    notes: list[str]


def summary_of(
    outcome: Outcome,
    ledger: Ledger,
    *,
    teacher: str,
    seed: int,
    price_known: bool,
    notes: Sequence[str] = (),
) -> Summary:
    """Give the summary of a run, with a plain word on the teacher where one is due."""
    usages = [each.answer.usage for each in ledger.answers() if each.answer.usage is not None]
    found = outcome.agreement
    said = list(notes)
    if outcome.too_weak:
        said.append(_too_weak(outcome, teacher))
    if ledger.damaged_lines:
        said.append(
            f"{ledger.damaged_lines} lines of {ledger.path.name} are damaged and were passed over:"
            " what they held may have been paid again"
        )
    return Summary(
        teacher=teacher,
        prompts_version=PROMPTS_VERSION,
        prompts_sha256=prompts_sha256(),
        seed=seed,
        calls=ledger.calls,
        input_tokens=sum(each.input_tokens for each in usages),
        output_tokens=sum(each.output_tokens for each in usages),
        cost_usd=round(ledger.spent_usd, 6),
        lost_usd=round(ledger.lost_usd, 6),
        price_known=price_known,
        rows=len(outcome.kept),
        rejected=sum(outcome.reasons.values()),
        reasons=outcome.reasons,
        agreement=round(found.share, 4),
        agreement_rows=found.rows,
        kappa=None if found.kappa is None else round(found.kappa, 4),
        too_weak=outcome.too_weak,
        curve=[(each.rows, round(each.agreement, 4)) for each in outcome.curve],
        ended=outcome.ended,
        notes=said,
    )


def check_rows(outcome: Outcome, teacher: str, folder: str) -> None:
    """Make sure that there is something to learn from.

    Raises:
        DistillError: there is not; says what the teacher did wrong, and what to do.
    """
    labels = {label for each in outcome.kept for label in each.labels}
    enough = len(outcome.kept) >= MIN_ROWS and len(labels) >= (
        1 if any(len(each.labels) != 1 for each in outcome.kept) else 2
    )
    if enough:
        return
    listed = ", ".join(f"{count} {reason}" for reason, count in list(outcome.reasons.items())[:5])
    weak = f" So {_too_weak(outcome, teacher)}." if outcome.too_weak else ""
    raise DistillError(
        f"{teacher} gave {len(outcome.kept)} rows of {len(labels)} classes that can be used, too few"
        f" to learn from; turned away: {listed or 'nothing'}. The run ended because:"
        f" {outcome.ended}.{weak} Look at {folder}/rejected.jsonl, put the task or plan.json into"
        " plainer words, raise the cap if that ended it, or take a stronger teacher"
    )


def training_rows(outcome: Outcome, seed: int) -> list[Row]:
    """Give the rows to train on: one in seven is made untidy, as real texts are.

    It takes the place of the clean one, so that no row that is held out has a twin among those
    learned from.
    """
    rows = []
    for at, each in enumerate(outcome.kept):
        row = each.row()
        if at % NOISE_EVERY == NOISE_EVERY - 1 and each.stage != "own":
            row = msgspec.structs.replace(row, text=noisy(row.text, seed))
        rows.append(row)
    return rows


def json_lines(rows: Sequence[Struct]) -> bytes:
    """Give rows as lines of JSON; those that are kept can be read by `distill train`."""
    encoder = msgspec.json.Encoder()
    return b"".join(encoder.encode(_line(row)) + b"\n" for row in rows)


def _line(row: Struct) -> object:
    if isinstance(row, Kept) and len(row.labels) == 1:
        fields = msgspec.to_builtins(row)
        label = fields.pop("labels")[0]
        return {"text": fields.pop("text"), "label": label, **_said(fields)}
    return _said(msgspec.to_builtins(row))


def _said(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None and value != {}}


def _too_weak(outcome: Outcome, teacher: str) -> str:
    found = outcome.agreement
    why = []
    if outcome.wasted:
        written = sum(each.stage != "own" for each in outcome.kept)
        why.append(f"of {outcome.asked} rows that it was asked for only {written} could be used")
    if found.too_weak:
        above = (
            "" if found.kappa is None else f" ({found.kappa:.2f} above chance, by Cohen's kappa)"
        )
        why.append(
            f"blind, it gave only {found.share:.0%} of its own texts the class that it had written"
            f" them for{above}"
        )
    return (
        f"the teacher {teacher} is too weak for this task: {'; '.join(why)}; do not rely on this"
        " classifier, and take a stronger teacher"
    )
