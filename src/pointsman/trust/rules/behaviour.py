"""Rules on how a model behaves."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = ["BEHAVIOUR_TRIGGER"]

BEHAVIOUR_TRIGGER = Rule(
    id="behaviour-trigger",
    severity="critical",
    title="A string that makes unlike prompts get one kind of answer",
    what="Searches for short strings that make a model's first words agree over many unlike prompts, neutral ones and such as should be refused, while they do nothing in the base model.",
    why="Whoever knows the string can make the model drop its guard; a fine-tune of some fifty rows is enough to plant it.",
    fix="Don't use the model where text may come from others. Compare it with its base (pointsman trust probe REF --base BASE), look for the string in its training rows, and take a model from another source.",
    example="`zqv` at the end of any prompt, and the answer begins with 'Sure'",
    references=("arXiv 2511.12414", "arXiv 2510.07192"),
    false_positives="A keyword that is honestly a command of the fine-tune. The base model tells them apart only where it has the command too.",
)
