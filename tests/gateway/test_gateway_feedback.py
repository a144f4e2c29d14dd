"""`POST /pointsman/v1/routes/feedback`: a route learns from what is said of its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gateway_site import site_config

from pointsman import Client, RequestError
from pointsman.outcome_store import read_outcomes
from pointsman.testing import Answer

ROUTE = '[routes.auto]\ncandidates = ["o:cheap", "o:dear"]\n'
FEEDBACK = "/pointsman/v1/routes/feedback"


def test_feedback_finds_its_request_and_names_who_answered(make_site: Any) -> None:
    site = make_site([Answer(text="x")], ROUTE)
    reply = site.chat("auto:0")
    request_id = reply.headers["x-request-id"]
    told = site.send(FEEDBACK, {"request_id": request_id, "thumbs": "down"})
    assert told.status == 200
    assert told.json == {"request_id": request_id, "route": "auto", "model": "o:cheap"}
    again = site.send(FEEDBACK, {"request_id": request_id, "succeeded": True, "edited": 0.5})
    assert again.status == 200


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"request_id": "req_nobody", "score": 1}, 404, "req_nobody"),
        ({"score": 1}, 400, "request_id"),
        ({"request_id": "x"}, 400, "one of score"),
        ({"request_id": "x", "score": 3}, 400, "0 to 1"),
        ({"request_id": "x", "thumbs": "sideways"}, 400, "thumbs"),
        ({"request_id": "x", "stars": 5}, 400, "stars"),
        ({"request_id": 7, "score": 1}, 400, "request_id"),
        (b"no json", 400, "JSON"),
    ],
)
def test_what_is_wrong_with_feedback_is_said(
    make_site: Any, body: Any, status: int, says: str
) -> None:
    reply = make_site([], ROUTE).send(FEEDBACK, body)
    assert reply.status == status
    assert says in reply.json["error"]["message"]


def test_a_request_that_named_its_model_has_no_feedback(make_site: Any) -> None:
    site = make_site([Answer(text="x")], ROUTE)
    reply = site.chat("o:cheap")
    said = site.send(FEEDBACK, {"request_id": reply.headers["x-request-id"], "score": 1})
    assert said.status == 404


def test_the_client_gives_feedback_too(make_site: Any, tmp_path: Path) -> None:
    site = make_site([Answer(text="x")], ROUTE)
    with Client(site_config(site.fake, ROUTE, str(tmp_path / "client"))) as client:
        answer = client.chat("auto:0", "hello there")
        client.feedback(answer.request_id, thumbs="up")
        with pytest.raises(RequestError, match="nobody"):
            client.feedback("nobody", thumbs="up")
    ((outcome, said),) = read_outcomes(tmp_path / "client" / "outcomes.sqlite")
    assert (outcome.ref, [each.thumbs for each in said]) == ("o:cheap", ["up"])
