"""The policies that ask first: what they ask, what they give, and what happens when something fails."""

from __future__ import annotations

import pytest
from policy_kit import ASKED, CHEAP, DEAR, Host, card, reading, situation, sure, verifier

from pointsman.errors import RouteError
from pointsman.router.judging import judge_chat, score_of
from pointsman.router.limits import Limits
from pointsman.router.policy import Check, cascade, classifier, consistency, judge, order
from pointsman.router.steps import Attempt, Call

CHECK = Check(verifier())
TWO = (CHEAP, DEAR)
UNSURE = sure("It might be 41, I am not sure", logprob=-3.0)
REFUSED = sure("I'm sorry, but I can't help with that.")
DOWN = Attempt("", error="provider_unreachable")


def two(**more):
    return situation(TWO, {"cheap": 0.0, "dear": 3.0}, **more)


def test_a_sure_answer_of_the_cheap_one_is_given():
    host = Host({"cheap": sure()}, reading(0.0))
    done = host.run(cascade(two(), CHECK))
    assert host.calls == [Call("cheap", logprobs=True)]
    assert (done.choice, done.answer) == ("cheap", 0)
    assert done.judged[0].accepted
    assert done.reasons[0].startswith("its answer will do: ")


@pytest.mark.parametrize("poor", [UNSURE, REFUSED, sure(""), DOWN])
def test_a_poor_answer_goes_on_to_the_abler_one(poor):
    host = Host({"cheap": poor}, reading(0.0))
    done = host.run(cascade(two(), CHECK))
    assert (done.choice, done.order, done.answer) == ("dear", ("dear",), None)
    assert not done.judged[0].accepted
    assert done.reasons[0].startswith("cheap would not do: ")
    assert not done.reasons[0].endswith(" for it")
    assert done.spare == (None if poor is DOWN else 0)


def test_at_either_end_of_the_dial_nobody_is_asked_first():
    for dial, choice in ((0.0, "cheap"), (1.0, "dear")):
        host = Host({}, reading(0.0))
        done = host.run(cascade(two(dial=dial), CHECK))
        assert (host.calls, done.choice) == ([], choice)


def test_a_dollar_that_weighs_more_makes_it_content_with_less():
    middling = sure("41 I think", logprob=-1.4)
    assert Host({"cheap": middling}, reading()).run(cascade(two(), CHECK)).choice == "dear"
    costly = cascade(two(per_usd=400.0), CHECK)
    assert Host({"cheap": middling}, reading()).run(costly).choice == "cheap"


def test_a_bar_in_place_of_the_dials_own():
    strict = Check(verifier(), accept=0.999)
    assert Host({"cheap": sure()}, reading()).run(cascade(two(), strict)).choice == "dear"
    lax = Check(verifier(), accept=0.0)
    assert Host({"cheap": UNSURE}, reading()).run(cascade(two(), lax)).choice == "cheap"


def test_without_a_verifier_what_is_plainly_wrong_goes_on_and_it_says_so():
    bare = Check(None)
    done = Host({"cheap": REFUSED}, reading(-3.0)).run(cascade(two(), bare))
    assert done.choice == "dear"
    assert done.judged[0].why == "no verifier; refused"
    done = Host({"cheap": sure()}, reading(-3.0)).run(cascade(two(), bare))
    assert done.answer == 0


def test_without_a_classifier_it_asks_by_the_dial_alone():
    host = Host({}, None)
    done = host.run(cascade(two(dial=0.6), CHECK))
    assert (host.calls, done.choice) == ([], "dear")


def test_three_rungs_are_climbed_one_by_one_and_the_best_answer_is_the_spare():
    cards = (CHEAP, card("middle", 0.5), DEAR)
    host = Host({"cheap": UNSURE, "middle": sure("41 perhaps", logprob=-1.5)}, reading(1.0))
    where = situation(cards, {"cheap": 0.0, "middle": 1.0, "dear": 4.0}, per_usd=20.0)
    done = host.run(cascade(where, CHECK))
    assert host.calls[0].ref == "cheap"
    assert done.choice == "dear"
    assert done.spare == len(host.calls) - 1


def test_of_a_stream_only_the_head_is_asked_for_and_there_is_no_spare():
    host = Host({"cheap": UNSURE}, reading())
    done = host.run(cascade(two(stream=True), CHECK))
    assert host.calls[0].head
    assert (done.order, done.spare) == (("dear", "cheap"), None)


def test_an_answer_without_logprobs_is_judged_by_the_rest():
    bare = Attempt("", text="42", finish_reason="stop")
    done = Host({"cheap": bare}, reading(-3.0)).run(cascade(two(), CHECK))
    assert done.judged[0].p_good != pytest.approx(0.5)
    assert done.answer == 0


# Closer looks


def test_samples_that_agree_speak_for_the_answer_and_those_that_do_not_against_it():
    bare = Attempt("", text="The result is 42", finish_reason="stop")
    host = Host({"cheap": bare}, reading(0.0))
    done = host.run(consistency(two(), CHECK, 3))
    assert [call.purpose for call in host.calls] == ["answer", "sample", "sample"]
    assert host.calls[1].chat is not None and host.calls[1].chat.temperature == 0.7
    agreed = done.judged[0].p_good

    said = iter(("The result is 42", "Surely 17", "No, 5"))
    host = Host({"cheap": lambda call: Attempt("", text=next(said))}, reading(0.0))
    done = host.run(consistency(two(), CHECK, 3))
    assert done.choice == "dear"
    assert done.judged[0].p_good < agreed - 0.2


def test_samples_that_fail_are_left_out_and_it_says_so():
    def answer(call: Call) -> Attempt:
        return sure() if call.purpose == "answer" else DOWN

    done = Host({"cheap": answer}, reading(-3.0)).run(consistency(two(), CHECK, 3))
    assert done.answer == 0
    assert "no other sample came" in done.judged[0].why


def judged(verdict: Attempt, share: float = 1.0):
    host = Host({"cheap": sure(), "judge": verdict}, reading(0.0))
    return host, host.run(judge(two(), CHECK, "judge", share, b"a conversation"))


def test_a_judges_word_decides():
    host, done = judged(Attempt("", text="Wrong sum.\nSCORE: 1"))
    assert host.calls[1].purpose == "judge"
    assert done.choice == "dear"
    assert done.judged[0].score == 0.1
    _, done = judged(Attempt("", text="Right.\nSCORE: 10"))
    assert (done.answer, done.judged[0].score) == (0, 1.0)


@pytest.mark.parametrize(
    "verdict", [DOWN, Attempt("", text="splendid"), Attempt("", text="SCORE: 99")]
)
def test_a_judge_that_fails_is_left_out_and_it_says_so(verdict):
    _, done = judged(verdict)
    assert done.answer == 0
    assert done.judged[0].why.startswith("the judge failed; ")
    assert done.judged[0].score is None


def test_only_a_share_of_the_conversations_is_judged():
    host, done = judged(DOWN, share=0.0)
    assert [call.ref for call in host.calls] == ["cheap"]
    assert done.answer == 0


def test_a_judge_sees_the_question_and_the_answer_and_only_so_much_of_them():
    text = judge_chat(ASKED, sure("x" * 50_000)).messages[0].parts[0].text
    assert "a question" in text
    assert len(text) < 12_000


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("SCORE: 7", 0.7),
        ("fine\n**SCORE: 10/10**", 1.0),
        ("score: 0.", 0.0),
        ("SCORE: 7 or 8", None),
    ],
)
def test_a_verdict_is_read_from_its_last_line(text, score):
    assert score_of(text) == score


# Those that do not ask


def test_order_asks_as_listed_and_leaves_out_what_is_forbidden():
    assert Host({}).run(order(two())).order == ("cheap", "dear")
    done = Host({}).run(order(two(limits=Limits(allowed=frozenset(("dear",))))))
    assert done.order == ("dear",)
    with pytest.raises(RouteError, match="region unknown"):
        Host({}).run(order(two(limits=Limits(residency=("eu",)))))


def test_the_classifier_gives_its_decision():
    done = Host({}, reading()).run(classifier(two()))
    assert done.decision is not None
    assert (done.choice, done.order) == (done.decision.chosen, done.decision.order)
