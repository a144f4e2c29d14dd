"""The middle form: what every dialect is read into and written from.

Values only, no behaviour that does input or output. A field that no other dialect knows is kept in
`Chat.extra` under its own name, so that a writer of the same dialect can say it again and a
writer of another one can refuse it by name.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct, field

__all__ = [
    "Ability",
    "Audio",
    "Chat",
    "Choice",
    "Chunk",
    "Classifier",
    "Completion",
    "Embed",
    "Embeddings",
    "Estimate",
    "File",
    "FinishReason",
    "Finished",
    "HostedTool",
    "Image",
    "Message",
    "ModelCard",
    "ModelInfo",
    "Part",
    "PromptReading",
    "Reasoning",
    "ReasoningDelta",
    "Refusal",
    "RefusalDelta",
    "ResponseFormat",
    "Role",
    "Signature",
    "Started",
    "Text",
    "TextDelta",
    "Thinking",
    "Timings",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallStarted",
    "ToolChoice",
    "ToolResult",
    "Usage",
    "UsageReported",
]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class Signature(Struct, frozen=True):
    """A provider's opaque proof on a part: Anthropic's `signature`, Gemini's `thoughtSignature`.

    `value` goes back byte-identical to `origin` and to nobody else. `origin` is a provider's name,
    or a dialect's name when the client gave the value raw and so only the dialect is known.
    """

    value: str
    origin: str


class Text(Struct, frozen=True, tag="text", tag_field="type"):
    """Text. `signature` is Gemini's, which may sit on a text part."""

    text: str
    signature: Signature | None = None


class Refusal(Struct, frozen=True, tag="refusal", tag_field="type"):
    """The model's own refusal where the dialect sets it apart from text (OpenAI)."""

    text: str


class Image(Struct, frozen=True, tag="image", tag_field="type"):
    """An image: either `data` (standard base64, with `media_type`) or `url` (http, https or gs)."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None


class Audio(Struct, frozen=True, tag="audio", tag_field="type"):
    """Sound as standard base64; `format` is `wav`, `mp3`, or another subtype of `audio/`."""

    data: str
    format: str


class File(Struct, frozen=True, tag="file", tag_field="type"):
    """A document: one of `data` (standard base64), `text`, `url` or `file_id` (the provider's own)."""

    name: str | None = None
    media_type: str | None = None
    data: str | None = None
    text: str | None = None
    url: str | None = None
    file_id: str | None = None


class ToolCall(Struct, frozen=True, tag="tool_call", tag_field="type"):
    """A call that the model asks for. `arguments` is the JSON text of an object, never empty."""

    id: str
    name: str
    arguments: str = "{}"
    signature: Signature | None = None


class ToolResult(Struct, frozen=True, tag="tool_result", tag_field="type"):
    """What a tool gave back. `name` is the function's, where the dialect or the history tells it."""

    call_id: str
    content: tuple[Text | Image | File, ...] = ()
    name: str | None = None
    is_error: bool = False


class Reasoning(Struct, frozen=True, tag="reasoning", tag_field="type"):
    """Thinking that the model showed. `redacted` is a provider's opaque block with no text.

    For a redacted block `signature` is None and `redacted.value` holds the block's data.
    """

    text: str = ""
    signature: Signature | None = None
    redacted: Signature | None = None


Part: TypeAlias = Text | Refusal | Image | Audio | File | ToolCall | ToolResult | Reasoning


class Message(Struct, frozen=True):
    """One turn. `tool` holds ToolResult parts only; `assistant` may hold ToolCall and Reasoning."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


class Tool(Struct, frozen=True):
    """A function that the model may call. `parameters` is a JSON schema of an object."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class HostedTool(Struct, frozen=True):
    """A tool that the provider runs (web search, code execution): only its own dialect can say it."""

    dialect: str
    spec: dict[str, Any]


class ToolChoice(Struct, frozen=True):
    """Whether tools are called. `names` limits `required` to those tools; empty means any."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()


class ResponseFormat(Struct, frozen=True):
    """The form of the answer; `schema` only for `json_schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Thinking(Struct, frozen=True):
    """How much the model may think before it answers.

    `enabled=False` switches it off. `effort` is the caller's word (none, minimal, low, medium,
    high, xhigh, max); `budget_tokens` a number of tokens, -1 for as many as the model likes.
    `show` asks for the thoughts in the answer.
    """

    enabled: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    show: bool | None = None


class Chat(Struct, kw_only=True):
    """One request for an answer.

    `dialect` is the wire format that it was read from ("pointsman" for the Python client).
    `extra` holds the parameters of that dialect which have no field here, by their wire names.
    `stop` and `n` as in OpenAI; temperatures 0–2 as given, never rescaled.
    """

    model: str
    messages: tuple[Message, ...]
    dialect: str = "pointsman"
    stream: bool = False
    include_usage: bool = True
    tools: tuple[Tool | HostedTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    thinking: Thinking | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class Usage(Struct, frozen=True):
    """Tokens, counted the same way for every provider.

    `input_tokens` is all of the prompt: it includes `cached_tokens` (read from a prompt cache) and
    `cache_write_tokens` (written to it). `output_tokens` includes `reasoning_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


class TokenLogprob(Struct, frozen=True):
    """A token and its natural-log probability; `top` holds the alternatives, best first."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple[TokenLogprob, ...] = ()


class Choice(Struct, frozen=True):
    """One answer. `native_finish` is the provider's own word, kept beside the common one."""

    parts: tuple[Part, ...]
    finish_reason: FinishReason | None = None
    index: int = 0
    native_finish: str | None = None
    stop_sequence: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class Timings(Struct, frozen=True):
    """How long the engine itself took, where it says so: to read the prompt, and to write the answer."""

    prompt_ms: float
    output_ms: float


class Completion(Struct, frozen=True):
    """A whole answer. `model` is the name that the provider reports; `created` in Unix seconds."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    created: int | None = None
    timings: Timings | None = None

    @property
    def text(self) -> str:
        """The first choice's text, joined; empty if there is none."""
        parts = self.choices[0].parts if self.choices else ()
        return "".join(part.text for part in parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The first choice's tool calls, in order."""
        parts = self.choices[0].parts if self.choices else ()
        return tuple(part for part in parts if isinstance(part, ToolCall))


class Started(Struct, frozen=True, tag="started", tag_field="type"):
    """The first chunk of a stream. `usage` where the provider counts the prompt up front."""

    id: str
    model: str
    created: int | None = None
    usage: Usage | None = None


class TextDelta(Struct, frozen=True, tag="text_delta", tag_field="type"):
    """More text for a choice."""

    text: str
    choice: int = 0
    signature: Signature | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class RefusalDelta(Struct, frozen=True, tag="refusal_delta", tag_field="type"):
    """More of a refusal."""

    text: str
    choice: int = 0


class ReasoningDelta(Struct, frozen=True, tag="reasoning_delta", tag_field="type"):
    """More thinking. A `signature` ends the reasoning part; `redacted` is a whole part by itself."""

    text: str = ""
    choice: int = 0
    signature: Signature | None = None
    redacted: Signature | None = None


class ToolCallStarted(Struct, frozen=True, tag="tool_call_started", tag_field="type"):
    """A tool call begins. `index` counts the choice's tool calls from 0, not its blocks."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: Signature | None = None


class ToolCallDelta(Struct, frozen=True, tag="tool_call_delta", tag_field="type"):
    """More of the JSON text of a call's arguments; together the fragments are one object."""

    index: int
    arguments: str
    choice: int = 0


class Finished(Struct, frozen=True, tag="finished", tag_field="type"):
    """A choice is complete; exactly one per choice."""

    reason: FinishReason
    choice: int = 0
    native: str | None = None
    stop_sequence: str | None = None


class UsageReported(Struct, frozen=True, tag="usage_reported", tag_field="type"):
    """The usage so far; the last one counts."""

    usage: Usage


Chunk: TypeAlias = (
    Started
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ToolCallStarted
    | ToolCallDelta
    | Finished
    | UsageReported
)


class Embed(Struct, kw_only=True):
    """A request for embeddings: texts, or token lists where the provider takes them."""

    model: str
    inputs: tuple[str, ...] | tuple[tuple[int, ...], ...]
    dimensions: int | None = None
    encoding: Literal["float", "base64"] | None = None
    user: str | None = None
    dialect: str = "pointsman"
    extra: dict[str, Any] = field(default_factory=dict)


class Embeddings(Struct, frozen=True):
    """One vector per input, in order."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None


class ModelInfo(Struct, frozen=True):
    """A model that a provider lists. `ref` is `provider:model`; `created` in Unix seconds."""

    ref: str
    provider: str
    name: str
    created: int | None = None
    context_tokens: int | None = None


class ModelCard(Struct, frozen=True, kw_only=True):
    """What is known of a model that a route may choose. Prices in US dollars per million tokens.

    None means unknown, and an ability that is unknown counts as absent when a request needs it.
    `region` is where it runs, in the user's own words; a model run here is in `local`. `verified` says
    that a local model's files were checked against their hashes. `logprobs` says that it gives the
    probabilities of its tokens when asked.
    """

    ref: str
    provider: str
    model: str
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cached_usd_per_mtok: float | None = None
    context_tokens: int | None = None
    vision: bool = False
    tools: bool = False
    json_schema: bool = False
    local: bool = False
    region: str | None = None
    verified: bool = False
    logprobs: bool = False

    def cost_usd(self, usage: Usage) -> float | None:
        """What `usage` costs, or None where a price is unknown; cached tokens at their own price."""
        if self.input_usd_per_mtok is None or self.output_usd_per_mtok is None:
            return None
        cached = self.cached_usd_per_mtok
        cached_price = self.input_usd_per_mtok if cached is None else cached
        fresh = usage.input_tokens - usage.cached_tokens
        return (
            fresh * self.input_usd_per_mtok
            + usage.cached_tokens * cached_price
            + usage.output_tokens * self.output_usd_per_mtok
        ) / 1e6


class Estimate(Struct, frozen=True):
    """What a classifier says of a prompt.

    `p_weak` is the probability, 0 to 1, that the weaker model's answer is as good as the stronger
    one's. `rank` is the share of the classifier's calibration prompts that are harder (have a
    lower `p_weak`): 0 is the hardest, 1 the easiest.
    """

    p_weak: float
    rank: float


class PromptReading(Struct, frozen=True):
    """What a classifier reads in a prompt, before it is known who answers it.

    A model of ability `theta` answers well with the logit theta·loadings − difficulty.
    `answer_tokens` is the expected length of an answer. `rank` is the share of calibration prompts
    that are harder, `familiar` how like the training prompts this one is; both 0 to 1.
    """

    loadings: tuple[float, ...]
    difficulty: float
    answer_tokens: float
    rank: float
    familiar: float


class Ability(Struct, frozen=True):
    """How able a model is: one number for each skill of a `PromptReading`.

    `sd` is how unsure that is, as the standard deviation of the logit on an average prompt.
    `source` says where it is from (recorded outcomes, public scores, its price, nothing), `date`
    (YYYY-MM-DD) from when; empty if unknown. `verbosity` is how long its answers are, 1 for the
    average model.
    """

    theta: tuple[float, ...]
    sd: float
    source: str
    date: str = ""
    verbosity: float = 1.0


class Classifier(Protocol):
    """Predicts from a prompt which models will do."""

    def estimate(self, text: str) -> Estimate:
        """Give the estimate for a prompt; pure."""
        ...

    def read(self, text: str) -> PromptReading:
        """Give what a prompt asks for; pure."""
        ...

    def ability(self, model: str, price_usd_per_mtok: float | None = None) -> Ability:
        """Give a model's ability, on the skills that `read` speaks of; pure.

        `model` is a provider's name for it; the price is blended, three parts input to one output.
        """
        ...
