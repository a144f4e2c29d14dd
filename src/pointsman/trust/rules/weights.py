"""Rules on the files of weights themselves: GGUF, safetensors, ONNX, Keras, TensorFlow."""

from __future__ import annotations

from pointsman.trust.rules.base import Rule

__all__ = [
    "GGUF_HIDDEN_BYTES",
    "GGUF_MALFORMED",
    "GGUF_VOCABULARY",
    "KERAS_CODE",
    "ONNX_CUSTOM_OPERATOR",
    "ONNX_EXTERNAL_DATA",
    "ONNX_MALFORMED",
    "SAFETENSORS_HIDDEN_BYTES",
    "SAFETENSORS_MALFORMED",
    "TENSORFLOW_OPERATOR",
    "TORCHSCRIPT_CODE",
]

_GGUF = "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"
_SAFETENSORS = "https://github.com/huggingface/safetensors#format"
_REFETCH = "Fetch it again from its maker and compare the hash; if it is the same, don't load it."

GGUF_MALFORMED = Rule(
    id="gguf-malformed",
    severity="high",
    title="A GGUF file that breaks its format",
    what="Reads the whole head with every length, count, offset and type checked against the format and the file's size: cut files, texts and arrays that reach past the end, unknown kinds, nested arrays, doubled keys and names, tensors that overlap, lie outside or are not aligned.",
    why="Loaders are written in C and C++: a length that lies is how memory gets overwritten, and past releases of more than one loader could be taken over by such a file.",
    fix=_REFETCH,
    example="A key whose length is 2⁶³; two tensors on the same bytes.",
    references=(_GGUF, "https://github.com/ggml-org/llama.cpp/security/advisories"),
    false_positives="A download that was cut short.",
)
GGUF_HIDDEN_BYTES = Rule(
    id="gguf-hidden-bytes",
    severity="medium",
    title="Bytes in a GGUF file that no tensor owns",
    what="Finds gaps between tensors and bytes after the last one, beyond what alignment explains.",
    why="Nothing that loads the model reads them, so they are a place to carry something else, such as an archive or a program.",
    fix=_REFETCH,
    example="A zip archive after the last tensor: the file is GGUF from its start and a zip from its end.",
    references=(_GGUF,),
    false_positives="Writers that pad to more than the alignment; zero bytes at the end are passed over.",
)
GGUF_VOCABULARY = Rule(
    id="gguf-vocabulary",
    severity="medium",
    title="A vocabulary that does not add up",
    what="Compares the lengths of a GGUF file's tokens, scores and token types, and checks that the special tokens' numbers are within.",
    why="Loaders index one array by another's length.",
    fix=_REFETCH,
    example="32,000 tokens and 10 scores.",
    references=(_GGUF,),
)
SAFETENSORS_MALFORMED = Rule(
    id="safetensors-malformed",
    severity="high",
    title="A safetensors file that breaks its format",
    what="Checks the header's length, that it is JSON of just the form allowed, each name once, and each tensor's type, shape and place: they must follow one another from the first byte to the last, none overlapping.",
    why="The format's safety rests on those rules. A reader that does not check them reads what it should not, and two readers that check differently see two models.",
    fix=_REFETCH,
    example='A header length of 2⁶³; `"data_offsets": [0, 16]` twice; the same name twice.',
    references=(_SAFETENSORS,),
    false_positives="A download that was cut short.",
)
SAFETENSORS_HIDDEN_BYTES = Rule(
    id="safetensors-hidden-bytes",
    severity="medium",
    title="Bytes in a safetensors file that no tensor owns",
    what="Finds gaps between tensors and bytes after the last one.",
    why="The format forbids them, so that a file can't be something else as well.",
    fix=_REFETCH,
    example="A zip archive with a pickle in it after the last tensor.",
    references=(_SAFETENSORS,),
)
ONNX_MALFORMED = Rule(
    id="onnx-malformed",
    severity="high",
    title="An ONNX file that breaks its format",
    what="Walks the file's protobuf fields with each length checked.",
    why="A length that lies is how a parser is attacked.",
    fix=_REFETCH,
    example="A field that reaches past the end of the file.",
    references=("https://github.com/onnx/onnx/blob/main/onnx/onnx.proto",),
    false_positives="A download that was cut short.",
)
ONNX_EXTERNAL_DATA = Rule(
    id="onnx-external-data",
    severity="critical",
    title="ONNX weights outside the model's folder",
    what="Finds tensors whose external data is an absolute path or one with `..` in it.",
    why="Loading the model reads any file of the machine as weights, from which it can leak through the answers (CVE-2022-25882, CVE-2024-27318).",
    fix="Don't load it.",
    example="`location = ../../../etc/passwd`",
    references=("https://github.com/onnx/onnx/blob/main/docs/ExternalData.md",),
)
ONNX_CUSTOM_OPERATOR = Rule(
    id="onnx-custom-operator",
    severity="medium",
    title="An ONNX model with operators of its own",
    what="Finds operators whose domain is none of those of ONNX, ONNX Runtime and their usual extensions.",
    why="They run only with a library of machine code that comes from elsewhere, often beside the model.",
    fix="Find out which library it wants and who made it; load neither before.",
    example="`domain = com.example`",
    references=("https://onnxruntime.ai/docs/reference/operators/add-custom-op.html",),
    false_positives="Models exported for the accelerator of one vendor.",
)
KERAS_CODE = Rule(
    id="keras-code",
    severity="high",
    title="A Keras model with code in it",
    what="Finds Lambda layers and objects of modules other than Keras's own, in .keras archives by their config, in HDF5 files by their text.",
    why="A Lambda layer holds Python byte code that runs when the model is loaded or used, and a module name there imports what it names (CVE-2024-3660, CVE-2025-1550).",
    fix="Don't load it; ask for a model without Lambda layers.",
    example='`{"class_name": "Lambda", …}`, `{"module": "os", "class_name": "function"}`',
    references=(
        "https://keras.io/api/layers/core_layers/lambda/",
        "https://github.com/keras-team/keras/security/advisories",
    ),
    false_positives="Models whose makers used Lambda for a small formula; it is code all the same.",
)
TENSORFLOW_OPERATOR = Rule(
    id="tensorflow-operator",
    severity="high",
    title="A TensorFlow graph that reads, writes or runs",
    what="Looks in a SavedModel, a frozen graph or a TFLite file for operators that touch files or run Python: ReadFile, WriteFile, PyFunc and their like.",
    why="A graph runs what it holds; these reach outside of it.",
    fix="Don't load it unless its maker says what the operator is for.",
    example="`WriteFile` into a start-up script.",
    references=("https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md",),
    false_positives="Training graphs that read their own data set.",
)
TORCHSCRIPT_CODE = Rule(
    id="torchscript-code",
    severity="medium",
    title="A TorchScript program",
    what="Finds PyTorch archives that hold code (`code/*.py`) beside the weights.",
    why="They are programs for the TorchScript interpreter, not just weights; they can read and write files, and their constants are a pickle.",
    fix="Use the safetensors form.",
    example="What `torch.jit.save` writes.",
    references=("https://github.com/pytorch/pytorch/security/policy",),
)
