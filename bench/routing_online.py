"""Simulates traffic with a drift half-way, to see what the online learner is worth.

    python bench/routing_online.py FOLDER [--seeds N] [--requests N] [--only TEXT] [--write-docs]

FOLDER holds dev.jsonl.gz, rows as `pointsman route train` reads them. Recorded prompts are drawn again as
requests; the route's own policy (`bandit`) decides with the shipped router's reading of the prompt and, of
each candidate, no more than its price (or, where it says so, the ability that the shipped router knows of it,
learned from other prompts of the same benchmarks); the chosen candidate's recorded score is all that is
learned from.
A request's utility is its score less its cost, a success being worth WORTH_USD. Half-way prices change and
a good model gets worse: from then on its answers are those recorded of a weak one. Money is capped by the
day; a candidate that could overrun what is left is out.

Prices are after list prices of late 2024, in US dollars per million tokens; they are part of the set-up,
no finding. Prints one JSON object; --write-docs puts a table and a plot into docs/.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from _docs import write_section
from _online_plot import curves_svg

from pointsman.router.budget import Budget
from pointsman.router.classifier import OnnxClassifier, default_classifier
from pointsman.router.facts import Facts
from pointsman.router.online import Context, Learner
from pointsman.router.policy import bandit
from pointsman.router.ranking import Situation
from pointsman.types import Ability, ModelCard, PromptReading

HOME = Path(__file__).parent.parent
PLOT = "img/routing_online.svg"
DAY_REQUESTS = 500
DAY_S = 86_400.0
EXPLORE = 0.05
WORTH_USD = 0.003
CURVE_POINTS = 80
Price = tuple[float, float]


class World(msgspec.Struct, frozen=True):
    """A route's candidates, which rows are its traffic, and what changes half-way."""

    name: str
    benchmarks: str
    prices: dict[str, Price]
    later: dict[str, Price]
    worse: tuple[str, str]
    cap_usd_per_request: float


PRO_PRICES = {
    "gemini-1.5-pro-002": (1.25, 5.0),
    "gemini-1.5-flash-002": (0.075, 0.3),
    "meta-llama-3.1-70b-instruct": (0.59, 0.79),
    "meta-llama-3.1-8b-instruct": (0.05, 0.08),
    "deepseek-coder-v2": (0.14, 0.28),
    "jamba-1.5-large": (2.0, 8.0),
    "qwen1.5-72b-chat": (0.9, 0.9),
    "qwen1.5-7b-chat": (0.2, 0.2),
    "mixtral-8x7b-instruct-v0.1": (0.24, 0.24),
    "mistral-7b-instruct-v0.2": (0.055, 0.055),
    "command-r": (0.15, 0.6),
    "phi-3-mini-4k-instruct": (0.1, 0.1),
    "mathstral-7b": (0.07, 0.07),
    "yi-6b-chat": (0.1, 0.1),
}
NINE_PRICES = {
    "llama-3.1-nemotron-51b-instruct": (0.9, 0.9),
    "llama-3.3-nemotron-super-49b-v1": (0.8, 0.8),
    "gemma-2-9b-it": (0.1, 0.1),
    "qwen2.5-7b-instruct": (0.06, 0.06),
    "llama-3.1-8b-instruct": (0.05, 0.08),
    "mistral-7b-instruct-v0.3": (0.055, 0.055),
    "codegemma-7b": (0.07, 0.07),
    "llama3-chatqa-1.5-70b": (0.9, 0.9),
    "llama3-chatqa-1.5-8b": (0.1, 0.1),
}
FIVE = 5


def _worlds() -> tuple[World, ...]:
    """Each set of benchmarks with the first five of its models, as routes have them, and with all."""
    pro_later = {"deepseek-coder-v2": (0.56, 1.1), "gemini-1.5-pro-002": (0.3, 1.2)}
    nine_later = {"gemma-2-9b-it": (0.5, 0.5), "llama-3.3-nemotron-super-49b-v1": (0.2, 0.2)}
    pro_worse = ("gemini-1.5-flash-002", "yi-6b-chat")
    nine_worse = ("llama-3.1-8b-instruct", "llama3-chatqa-1.5-8b")
    found = []
    for name, benchmarks, prices, later, worse, cap in (
        ("MMLU-Pro", "mmlu-pro", PRO_PRICES, pro_later, pro_worse, 0.0006),
        ("nine benchmarks", "llmrouter/", NINE_PRICES, nine_later, nine_worse, 0.0003),
    ):
        for count in (FIVE, len(prices)):
            some = dict(list(prices.items())[:count])
            found.append(World(f"{name}, {count} models", benchmarks, some, later, worse, cap))
    return tuple(found)


WORLDS = _worlds()
DEFAULT_TOKENS = 300


class Prompt(msgspec.Struct, frozen=True):
    """A recorded prompt: what the router reads in it, and by model its score and tokens."""

    reading: PromptReading
    facts: Facts
    outcomes: dict[str, tuple[float, int, int]]


def prompts_of(path: Path, world: World, router: OnnxClassifier) -> list[Prompt]:
    found = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        models = row["models"]
        if not row["benchmark"].startswith(world.benchmarks):
            continue
        if (world.prices.keys() | {world.worse[1]}) - models.keys():
            continue
        tokens = max(len(row["prompt"].encode()) // 4, 1)
        outcomes = {
            name: (
                models[name]["s"] / models[name].get("scale", 1),
                models[name].get("it") or tokens,
                models[name].get("ot") or DEFAULT_TOKENS,
            )
            for name in (*world.prices, world.worse[1])
        }
        facts = Facts(row["prompt"], max(o[1] for o in outcomes.values()), 4096)
        found.append(Prompt(router.read(row["prompt"]), facts, outcomes))
    return found


class Market:
    """What is true at a time: prices, and how each candidate does."""

    def __init__(self, world: World, requests: int) -> None:
        self.world = world
        self.requests = requests
        self.cards = [self._cards(world.prices), self._cards(world.prices | world.later)]

    @staticmethod
    def _cards(prices: dict[str, Price]) -> tuple[ModelCard, ...]:
        return tuple(
            ModelCard(
                ref=name, provider="", model=name, input_usd_per_mtok=i, output_usd_per_mtok=o
            )
            for name, (i, o) in prices.items()
        )

    def half(self, at: int) -> int:
        return int(2 * at >= self.requests)

    def outcome(self, prompt: Prompt, ref: str, at: int) -> tuple[float, float]:
        """(score, cost)."""
        worse, like = self.world.worse
        score, into, out = prompt.outcomes[ref]
        if self.half(at) and ref == worse:
            score = prompt.outcomes[like][0]
        card = next(card for card in self.cards[self.half(at)] if card.ref == ref)
        return score, (
            into * (card.input_usd_per_mtok or 0) + out * (card.output_usd_per_mtok or 0)
        ) / 1e6


class Router:
    """The route under test: the policy as it is, a learner or none."""

    def __init__(
        self, abilities: dict[str, Ability], learner: Learner | None, *, explore: float, told: float
    ) -> None:
        self.abilities = abilities
        self.learner = learner
        self.explore = explore
        self.told = told

    def choose(self, prompt: Prompt, cards: tuple[ModelCard, ...], at: int, seed: int) -> Any:
        situation = Situation(
            facts=prompt.facts,
            cards=cards,
            route="sim",
            abilities=self.abilities,
            per_usd=1 / WORTH_USD,
            offset=self.learner.offset if self.learner else None,
            explore=self.explore,
            seed=seed * 1_000_003 + at,
        )
        policy = bandit(situation)
        try:
            next(policy)
            policy.send(prompt.reading)
        except StopIteration as done:
            return done.value
        raise AssertionError("the bandit asked for more than a reading")

    def learn(self, prompt: Prompt, done: Any, reward: float) -> None:
        if self.learner is None or done.decision is None or not done.decision.views:
            return
        view = next(v for v in done.decision.views if v.ref == done.choice)
        reading = prompt.reading
        self.learner.learn(
            Context("sim", view.logit, reading.difficulty, reading.rank, loadings=reading.loadings),
            done.choice,
            reward,
        )


class Trace(msgspec.Struct):
    """What one router did on one stream: utility by request, the money of each day, requests refused."""

    utility: list[float]
    days_usd: list[float]
    refused: int = 0


def simulate(market: Market, stream: Sequence[Prompt], router: Router, seed: int) -> Trace:
    cap = market.world.cap_usd_per_request * DAY_REQUESTS
    budget = Budget(cap)
    trace = Trace([], [0.0] * -(-len(stream) // DAY_REQUESTS))
    told = random.Random(seed)
    for at, prompt in enumerate(stream):
        now_s = DAY_S * at / DAY_REQUESTS
        left = budget.left_usd(now_s)
        cards = tuple(
            card
            for card in market.cards[market.half(at)]
            if market.outcome(prompt, card.ref, at)[1] <= left
        )
        if not cards:
            trace.utility.append(0.0)
            trace.refused += 1
            continue
        done = router.choose(prompt, cards, at, seed)
        score, cost = market.outcome(prompt, done.choice, at)
        budget.reserve(cost, now_s)
        budget.settle(cost, cost, now_s)
        trace.days_usd[at // DAY_REQUESTS] += cost
        trace.utility.append(score - cost / WORTH_USD)
        if told.random() < router.told:
            router.learn(prompt, done, score)
    return trace


def fixed(market: Market, stream: Sequence[Prompt]) -> dict[str, list[float]]:
    """The utility of always asking one candidate, without any cap on its money."""
    found = {}
    for ref in market.world.prices:
        scores = [market.outcome(prompt, ref, at) for at, prompt in enumerate(stream)]
        found[ref] = [score - cost / WORTH_USD for score, cost in scores]
    return found


def routers(cold: dict[str, Ability], known: dict[str, Ability]) -> dict[str, Router]:
    still = Learner(half_life_requests=None)
    return {
        "discounted": Router(cold, Learner(), explore=EXPLORE, told=1.0),
        "discounted, 1 in 5 told": Router(cold, Learner(), explore=EXPLORE, told=0.2),
        "discounted, no exploring": Router(cold, Learner(), explore=0.0, told=1.0),
        "stationary": Router(cold, still, explore=EXPLORE, told=1.0),
        "no learner": Router(cold, None, explore=0.0, told=0.0),
        "discounted, abilities known": Router(known, Learner(), explore=EXPLORE, told=1.0),
        "no learner, abilities known": Router(known, None, explore=0.0, told=0.0),
    }


def abilities_of(
    market: Market, router: OnnxClassifier
) -> tuple[dict[str, Ability], dict[str, Ability]]:
    """By price alone, and as the shipped router has them by the models' names."""
    prices = {}
    for card in market.cards[0]:
        assert card.input_usd_per_mtok is not None and card.output_usd_per_mtok is not None
        prices[card.ref] = (3 * card.input_usd_per_mtok + card.output_usd_per_mtok) / 4
    cold = {ref: router.ability("", price) for ref, price in prices.items()}
    return cold, {ref: router.ability(ref, price) for ref, price in prices.items()}


def run_world(
    world: World, prompts: Sequence[Prompt], router: OnnxClassifier, requests: int, seeds: int
) -> dict[str, Any]:
    market = Market(world, requests)
    cold, known = abilities_of(market, router)
    found: dict[str, Any] = {"requests": requests, "prompts": len(prompts), "runs": []}
    for seed in range(seeds):
        stream = random.Random(seed).choices(prompts, k=requests)
        singles = fixed(market, stream)
        traces = {
            name: simulate(market, stream, each, seed)
            for name, each in routers(cold, known).items()
        }
        found["runs"].append(_one(market, singles, traces))
    found["summary"] = _summary(found["runs"], requests)
    found["cap_usd_per_day"] = world.cap_usd_per_request * DAY_REQUESTS
    return found


def _one(
    market: Market, singles: dict[str, list[float]], traces: dict[str, Trace]
) -> dict[str, Any]:
    half = market.requests // 2
    best = max(singles, key=lambda ref: sum(singles[ref]))
    sums = {ref: _running(values) for ref, values in singles.items()}
    top = [max(each[at] for each in sums.values()) for at in range(market.requests)]
    found: dict[str, Any] = {"best_fixed": best, "routers": {}, "curves": {}}
    marks = [round(i * (market.requests - 1) / CURVE_POINTS) for i in range(CURVE_POINTS + 1)]
    for name, trace in traces.items():
        own = _running(trace.utility)
        ahead = next(
            (
                at + 1
                for at in range(market.requests)
                if all(own[k] > top[k] for k in range(at, market.requests, 25))
            ),
            None,
        )
        found["routers"][name] = {
            "utility": own[-1],
            "first_half": own[half - 1],
            "regret_to_best_fixed": sums[best][-1] - own[-1],
            "over_every_fixed_from_request": ahead,
            "over_every_fixed_at_2000": own[min(1999, market.requests - 1)]
            > top[min(1999, market.requests - 1)],
            "after_drift": own[-1] - own[half - 1],
            "best_fixed_after_drift": max(s[-1] - s[half - 1] for s in sums.values()),
            "day_usd_max": max(trace.days_usd),
            "refused": trace.refused,
        }
        found["curves"][name] = [sums[best][at] - own[at] for at in marks]
    found["fixed"] = {ref: values[-1] for ref, values in sums.items()}
    return found


def _running(values: Sequence[float]) -> list[float]:
    total, found = 0.0, []
    for value in values:
        total += value
        found.append(total)
    return found


def _summary(runs: Sequence[dict[str, Any]], requests: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in runs[0]["routers"]:
        each = [run["routers"][name] for run in runs]
        found[name] = {
            "utility_per_request": _band([one["utility"] / requests for one in each]),
            "regret_per_request": _band([one["regret_to_best_fixed"] / requests for one in each]),
            "gain_on_stationary": _band(
                [
                    (run["routers"][name]["utility"] - run["routers"]["stationary"]["utility"])
                    / requests
                    for run in runs
                ]
            ),
            "over_every_fixed": sum(
                one["utility"] > max(run["fixed"].values())
                for one, run in zip(each, runs, strict=True)
            ),
            "over_every_fixed_at_2000": sum(one["over_every_fixed_at_2000"] for one in each),
            "from_request": sorted(
                one["over_every_fixed_from_request"] or requests + 1 for one in each
            ),
            "day_usd_max": max(one["day_usd_max"] for one in each),
            "refused": sum(one["refused"] for one in each),
        }
    best = [max(run["fixed"].values()) / requests for run in runs]
    found["best fixed, known beforehand"] = {"utility_per_request": _band(best)}
    return found


def _band(values: Sequence[float]) -> list[float]:
    """Mean, and its 95 % interval over the seeds."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return [round(mean, 4)] * 3
    error = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    return [round(mean, 4), round(mean - error, 4), round(mean + error, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--only", default="", help="routes whose name has this")
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args()
    router = default_classifier()
    found = {}
    for world in (each for each in WORLDS if given.only in each.name):
        prompts = prompts_of(given.folder / "dev.jsonl.gz", world, router)
        found[world.name] = run_world(world, prompts, router, given.requests, given.seeds)
    if given.write_docs:
        (HOME / "docs" / PLOT).write_text(curves_svg(found), "utf-8")
        write_section(
            HOME / "docs/benchmarks.md", "routing-online", "bench/routing_online.py", table(found)
        )
    for each in found.values():
        for run in each["runs"]:
            del run["curves"]
    json.dump(found, sys.stdout, indent=1)
    print()


def table(found: dict[str, Any]) -> str:
    """The part of docs/benchmarks.md."""
    lines = []
    for name, each in found.items():
        seeds = len(each["runs"])
        lines += [
            f"**{name}**: {each['requests']} requests from {each['prompts']} prompts, {seeds} seeds.",
            "",
            "| | utility a request | regret to the best fixed choice | gain on stationary |"
            " runs above every fixed choice, at the end | at 2,000 | dearest day, of the cap |",
            "|---|---|---|---|---:|---:|---:|",
        ]
        for router, row in each["summary"].items():
            utility = _text(row["utility_per_request"])
            if "regret_per_request" not in row:
                lines.append(f"| {router} | {utility} | | | | | |")
                continue
            share = row["day_usd_max"] / each["cap_usd_per_day"]
            lines.append(
                f"| {router} | {utility} | {_text(row['regret_per_request'])} |"
                f" {_text(row['gain_on_stationary'])} | {row['over_every_fixed']}/{seeds} |"
                f" {row['over_every_fixed_at_2000']}/{seeds} | {share:.0%} |"
            )
        lines.append("")
    lines.append(f"![Regret against the best fixed choice, by request]({PLOT})")
    return "\n".join(lines)


def _text(band: Sequence[float]) -> str:
    return f"{band[0]:.3f} [{band[1]:.3f}, {band[2]:.3f}]"


if __name__ == "__main__":
    main()
