"""Every rule by its name."""

from __future__ import annotations

from importlib import import_module

from pointsman.trust.rules.base import Rule

__all__ = ["MODULES", "all_rules"]

# Subject → its module's title in docs/rules.md; a module of rules is listed here, or its rules are not known.
MODULES: dict[str, str] = {}


def all_rules() -> dict[str, Rule]:
    """Give every rule by its id, subject by subject.

    Raises:
        ValueError: two rules have one id.
    """
    found: dict[str, Rule] = {}
    for name in MODULES:
        module = import_module(f"pointsman.trust.rules.{name}")
        for rule in vars(module).values():
            if isinstance(rule, Rule):
                if rule.id in found:
                    raise ValueError(f"two rules are called '{rule.id}'")
                found[rule.id] = rule
    return found
