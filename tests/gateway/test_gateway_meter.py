from __future__ import annotations

import json

import pytest

from pointsman._sse import frame
from pointsman.gateway.meter import MAX_SERIES, Meter, StreamMeter, usage_of
from pointsman.types import ModelCard, Usage

CARD = ModelCard(
    ref="p:m", provider="p", model="m", input_usd_per_mtok=1.0, output_usd_per_mtok=10.0,
    cached_usd_per_mtok=0.1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "body", "usage"),
    [
        (
            "openai",
            {"usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14,
                       "prompt_tokens_details": {"cached_tokens": 4},
                       "completion_tokens_details": {"reasoning_tokens": 3}}},
            Usage(9, 5, 4, 0, 3),
        ),
        (
            "anthropic",
            {"usage": {"input_tokens": 1, "output_tokens": 5, "cache_creation_input_tokens": 2,
                       "cache_read_input_tokens": 4}},
            Usage(7, 5, 4, 2, 0),
        ),
        (
            "gemini",
            {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2,
                               "thoughtsTokenCount": 3, "cachedContentTokenCount": 4}},
            Usage(9, 5, 4, 0, 3),
        ),
    ],
)  # fmt: skip
def test_usage_is_counted_alike(dialect, body, usage):
    assert usage_of(dialect, json.dumps(body).encode()) == usage


@pytest.mark.parametrize("body", [b"{}", b"[DONE]", b'{"usage":null}', b'{"usage":3}', b"\xff"])
def test_no_usage_is_none_and_no_fault(body):
    assert usage_of("openai", body) is None


def test_an_anthropic_stream_counts_the_prompt_once_and_the_answer_as_it_grew():
    meter = StreamMeter("anthropic")
    start = {"message": {"usage": {"input_tokens": 3, "cache_read_input_tokens": 4}}}
    meter.feed(frame(json.dumps(start).encode(), "message_start"))
    for count in (2, 8):
        meter.feed(frame(json.dumps({"usage": {"output_tokens": count}}).encode(), "message_delta"))
    assert meter.usage() == Usage(7, 8, 4, 0, 0)


def test_cost_counts_cached_tokens_at_their_own_price():
    meter = Meter()
    cost = meter.served(CARD, Usage(1000, 100, 400))
    assert cost == pytest.approx((600 * 1 + 400 * 0.1 + 100 * 10) / 1e6)
    assert meter.served(ModelCard(ref="q:m", provider="q", model="m"), Usage(1, 1)) is None
    assert 'pointsman_unpriced_total{provider="q",model="m"} 1' in meter.exposition()


def test_labels_are_escaped_and_series_bounded():
    meter = Meter()
    meter.failed('a"b', "c\\d\n")
    assert 'provider="a\\"b",model="c\\\\d\\n"' in meter.exposition()
    for number in range(MAX_SERIES + 50):
        meter.failed("p", str(number))
    assert len(meter.counts) <= MAX_SERIES + 1
