"""The fake provider's batches, through the official clients."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

from pointsman.testing import Answer, FakeProvider, Fault, Recorded


def reply(request: Recorded) -> Answer | Fault:
    return Fault(status=400, message="no") if b"bad" in request.raw else Answer(text="fine")


def test_openais_client_hands_in_a_batch_and_reads_its_results() -> None:
    lines = [
        {
            "custom_id": f"k{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": text}]},
        }
        for number, text in enumerate(("good", "bad", "good too"))
    ]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    with (
        FakeProvider(reply, batch_polls=2) as fake,
        openai.OpenAI(base_url=f"{fake.url}/v1", api_key="x", max_retries=0) as client,
    ):
        file = client.files.create(file=("b.jsonl", content), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"mine": "yes"},
        )
        states = [client.batches.retrieve(batch.id) for _ in range(3)]
        assert [each.status for each in states] == ["in_progress", "in_progress", "completed"]
        done = states[-1]
        assert done.request_counts is not None and done.request_counts.completed == 2
        assert done.output_file_id and done.error_file_id
        good = [json.loads(each) for each in client.files.content(done.output_file_id).iter_lines()]
        assert {each["custom_id"] for each in good} == {"k0", "k2"}
        assert good[0]["response"]["body"]["choices"][0]["message"]["content"] == "fine"
        bad = client.files.content(done.error_file_id).text
        assert json.loads(bad)["response"]["status_code"] == 400
        listed = [each for each in client.batches.list() if each.metadata == {"mine": "yes"}]
        assert [each.id for each in listed] == [batch.id]
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve("batch_none")
        with pytest.raises(openai.BadRequestError):
            client.batches.create(
                input_file_id="none", endpoint="/v1/chat/completions", completion_window="24h"
            )


def test_anthropics_client_hands_in_a_batch_and_reads_its_state() -> None:
    with (
        FakeProvider(reply) as fake,
        anthropic.Anthropic(base_url=fake.url, api_key="x", max_retries=0) as client,
    ):
        batch = client.messages.batches.create(
            requests=[
                {
                    "custom_id": f"k{number}",
                    "params": {
                        "model": "m",
                        "max_tokens": 9,
                        "messages": [{"role": "user", "content": text}],
                    },
                }
                for number, text in enumerate(("good", "bad"))
            ]
        )
        states = [client.messages.batches.retrieve(batch.id) for _ in range(2)]
        assert [each.processing_status for each in states] == ["in_progress", "ended"]
        counts = states[-1].request_counts
        assert (counts.succeeded, counts.errored) == (1, 1)
        assert [each.id for each in client.messages.batches.list()] == [batch.id]
        made = fake.batches.made[batch.id].lines
        assert {each["result"]["type"] for each in made} == {"succeeded", "errored"}
