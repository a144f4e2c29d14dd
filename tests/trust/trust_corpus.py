"""A corpus of inert hostile files, made by this script: no payload here is ever loaded or run.

    python tests/trust/trust_corpus.py FOLDER     write hostile/ and benign/ below FOLDER

`hostile()` gives files by name; each must be found, or be "could not check". `benign()` gives files
that must pass.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import trust_templates as templates
from trust_weight_files import HUGE, SMALL_SAFETENSORS, Gguf, row, safetensors, small_gguf

COMMAND = "echo inert"


class Reduce:
    """Pickled as a call; only ever pickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def call(module: str, name: str, argument: str = COMMAND) -> bytes:
    """A pickle of protocol 0 that calls a name with a text."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


def short(text: str) -> bytes:
    raw = text.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


PAYLOAD = pickle.dumps(Reduce(os.system, COMMAND), 4)
# Each has run, or has led to what runs, code past some scanner.
_NAMES = """
os.system posix.system nt.system subprocess.Popen builtins.eval builtins.exec builtins.getattr builtins.__import__
builtins.compile builtins.open __builtin__.eval importlib.import_module importlib.reload runpy.run_path pty.spawn
pkgutil.resolve_name operator.attrgetter operator.methodcaller _operator.attrgetter functools.partial timeit.timeit
cProfile.run profile.run pdb.run bdb.Bdb.run trace.Trace.run doctest.debug_script code.InteractiveInterpreter
codeop.compile_command marshal.loads types.FunctionType pickle.loads _pickle.loads shelve.open dill.loads
ctypes.CDLL socket.create_connection webbrowser.open pip.main pydoc.pipepager mailcap.findmatch imaplib.IMAP4_stream
asyncio.unix_events._UnixSubprocessTransport._start multiprocessing.util.spawnv_passfds shutil.rmtree
logging.config.listen idlelib.run.Executive.runcode idlelib.pyshell.ModifiedInterpreter.runcode lib2to3.pgen2.pgen.ParserGenerator.make_label
ensurepip._run_pip venv.create zipimport.zipimporter distutils.spawn.spawn setuptools.command.easy_install.main
torch.load torch.hub.load torch.jit.unsupported_tensor_ops.execWrapper torch.utils.bottleneck.__main__.run_cprofile
torch._inductor.codecache.compile_file torch.utils.data.datapipes.utils.decoder.basichandlers torch.serialization.load
numpy.f2py.crackfortran.getlincoef numpy.testing._private.utils.runstring numpy.load numpy.distutils.exec_command.exec_command
pandas.eval joblib.load yaml.unsafe_load cloudpickle.loads uuid._get_command_stdout site.execsitecustomize
nltk.app.wordnet_app.app antigravity.geohash smtplib.SMTP http.client.HTTPSConnection urllib.request.urlopen sys.modules
gc.get_objects inspect.getattr_static cgitb.lookup test.support.script_helper.assert_python_ok tempfile.mktemp
linecache.getline sqlite3.connect pathlib.Path.write_text io.open _io.FileIO platform.popen getpass.os readline.read_init_file
"""
NAMES = _NAMES.split()


def pickles() -> dict[str, bytes]:
    found = {
        f"reduce protocol {number}": pickle.dumps(Reduce(os.system, COMMAND), number)
        for number in range(6)
    }
    found |= {f"name {each}": call(*each.rsplit(".", 1)) for each in NAMES}
    memo = (
        b"\x80\x04"
        + short("os")
        + b"q\x00"
        + short("system")
        + b"q\x01"
        + short("collections")
        + b"\x94"
        + short("OrderedDict")
        + b"\x94"
    )
    state = b"\x80\x04cnumpy\nprod\nN}" + short("a") + short("os") + b"s\x86b0"
    found |= {
        "inst": f"(V{COMMAND}\nios\nsystem\n.".encode(),
        "obj": b"(cos\nsystem\nV" + COMMAND.encode() + b"\no.",
        "newobj": b"\x80\x02cos\nsystem\nX\x04\0\0\0echo\x85\x81.",
        "newobj_ex": b"\x80\x04cos\nsystem\n" + short("echo") + b"\x85}\x92.",
        "stack_global": b"\x80\x04" + short("os") + short("system") + b"\x93" + short("echo") + b"\x85R.",
        "stack_global from a mixed memo": memo + b"h\x00h\x01\x93" + short("echo") + b"\x85R.",
        "stack_global from a doubled memo": b"\x80\x04" + short("collections") + b"q\x00" + short("os") + b"q\x00" + short("system") + b"q\x01h\x00h\x01\x93" + short("echo") + b"\x85R.",
        "stack_global computed": b"\x80\x04ccollections\nOrderedDict\n)R" + short("system") + b"\x93" + short("echo") + b"\x85R.",
        "stack_global by long opcodes": b"\x80\x04\x8d" + struct.pack("<Q", 2) + b"os" + b"X" + struct.pack("<I", 6) + b"system\x93" + short("echo") + b"\x85R.",
        "escaped UNICODE": b"\x80\x04V\\u006fs\nVsyste\\u006d\n\x93Vecho\n\x85R.",
        "escaped STRING": b"\x80\x04S'\\x6fs'\nS'system'\n\x93S'echo'\n\x85R.",
        "state of a module": state + b".",
        "state then import": state + b"cnumpy\nprod.a\n" + short("system") + b"\x93" + short("echo") + b"\x85R.",
        "setitem on a module": b"\x80\x04cos\nenviron\n" + short("X") + short("1") + b"s.",
        "extension code": b"\x80\x02\x82\x01" + short("echo") + b"\x85R.",
        "dotted name": b"\x80\x04" + short("collections") + short("OrderedDict.__init__.__globals__") + b"\x93.",
        "broken tail": PAYLOAD[:-1] + b"\xff\xff",
        "no stop": PAYLOAD[:-1],
        "cut in an argument": PAYLOAD[:-1] + b"X\xff\xff\xff\x7f",
        "after a stop": pickle.dumps({"a": 1}) + PAYLOAD,
        "after three stops": pickle.dumps(1) * 3 + PAYLOAD,
        "within a pickle": pickle.dumps(Reduce(pickle.loads, PAYLOAD)),
        "protocol that lies": b"\x80\x00" + call("os", "system"),
        "protocol in the middle": b"\x80\x02\x80\x05" + PAYLOAD[2:],
        "frame that lies": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f" + PAYLOAD[11:],
        "popped and left": b"\x80\x04K\x01" + PAYLOAD[11:-1] + b"0K\x01.",
        "plain values first": b"(lp0\n" + b"I1\na" * 500 + call("os", "system"),
        "long line first": b"V" + b"x" * 5_000 + b"\n0" + call("os", "system"),
        "a get from nowhere": b"\x80\x04h\x070" + PAYLOAD[11:],
        "an empty stack": b"\x80\x0400" + PAYLOAD[11:],
        "names past the break": b"\x80\x02cnumpy\nndarray\n\xff" + PAYLOAD,
        "in a GGUF's clothes": b"GGUF\x03\0\0\0\0" + b"0" + call("os", "system"),
        "arrays of joblib": b"\x80\x04" + short("joblib.numpy_pickle") + short("NumpyArrayWrapper") + b"\x93)\x81}b\xff\xff\xff" + PAYLOAD,
    }  # fmt: skip
    return {f"{name}.pkl": raw for name, raw in found.items()}


def trust_zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, raw in members.items():
            file.writestr(_info(name, method), raw)
    return out.getvalue()


def _info(name: str, method: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    """A member's head without the time of day, so that the corpus is the same each time."""
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    return info


def torch_zip(payload: bytes = PAYLOAD, method: int = zipfile.ZIP_STORED) -> bytes:
    return trust_zip({"m/data.pkl": payload, "m/version": b"3\n", "m/data/0": bytes(64)}, method)


def _patched(raw: bytes, mark: bytes, offset: int, new: bytes, last: bool = False) -> bytes:
    at = (raw.rfind(mark) if last else raw.find(mark)) + offset
    return raw[:at] + new + raw[at + len(new) :]


def _npy(descr: str, body: bytes, shape: str = "(1,)") -> bytes:
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


def tar_of(members: dict[str, bytes], links: tuple[tuple[str, str, bytes], ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            file.addfile(info, io.BytesIO(raw))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.linkname, info.type = target, kind
            file.addfile(info)
    return out.getvalue()


def overlapping(count: int = 20_000) -> bytes:
    """A zip whose members are all the same bytes."""
    whole = trust_zip({"a": bytes(range(256)) * 1_000})
    at = whole.find(b"PK\x01\x02")
    end = whole.find(b"PK\x05\x06")
    entry, tail = whole[at:end], bytearray(whole[end:])
    tail[8:20] = struct.pack("<HHII", count, count, count * len(entry), at)
    return whole[:at] + entry * count + bytes(tail)


def archives() -> dict[str, bytes]:
    whole = torch_zip()
    deflated = torch_zip(method=zipfile.ZIP_DEFLATED)
    two = io.BytesIO()
    with zipfile.ZipFile(two, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(_info("a.txt"), b"good")
        file.writestr(_info("a.txt"), PAYLOAD)
    nested = whole
    for _ in range(3):
        nested = trust_zip({"inner.zip": nested})
    deep = whole
    for _ in range(12):
        deep = trust_zip({"x": deep})
    local = whole[: whole.find(b"PK\x01\x02")]
    return {
        "torch.pt": whole,
        "deflated.pt": deflated,
        "zip in zip.pt": nested,
        "zip too deep.zip": deep,
        "bad crc.pt": _patched(whole, b"PK\x01\x02", 16, b"\x01\x02\x03\x04"),
        "bad crc, deflated.pt": _patched(deflated, b"PK\x01\x02", 16, b"\x01\x02\x03\x04"),
        "encrypted bit, local.pt": _patched(whole, b"PK\x03\x04", 6, b"\x01\x00"),
        "encrypted bit, directory.pt": _patched(whole, b"PK\x01\x02", 8, b"\x01\x00"),
        "other name, local.pt": _patched(whole, b"PK\x03\x04", 30, b"m/data.txt"),
        "other method, directory.pt": _patched(whole, b"PK\x01\x02", 10, b"\x63\x00"),
        "other size, directory.pt": _patched(whole, b"PK\x01\x02", 24, b"\xff\xff\xff\x7f"),
        "count that lies.pt": _patched(whole, b"PK\x05\x06", 8, b"\x00\x00\x00\x00"),
        "directory past the end.pt": _patched(whole, b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),
        "no directory.pt": local,
        "listed twice.zip": two.getvalue(),
        "hidden member.zip": local + trust_zip({"readme.txt": b"hello"}),
        "bytes before.pt": b"\0" * 777 + whole,
        "slip.zip": trust_zip({"../../evil.sh": b"echo inert"}),
        "slip with a drive.zip": trust_zip({"C:\\evil.txt": b"x"}),
        "bomb.zip": trust_zip({"weights": bytes(100 * 1024 * 1024)}, zipfile.ZIP_DEFLATED),
        "bomb.gz": gzip.compress(bytes(100 * 1024 * 1024), 9, mtime=0),
        "overlap.zip": overlapping(),
        "renamed.safetensors": whole,
        "renamed.gguf": PAYLOAD,
        "renamed.txt": PAYLOAD,
        "renamed.png": whole,
        "pickle.gz": gzip.compress(PAYLOAD, mtime=0),
        "pickle.bz2": bz2.compress(PAYLOAD),
        "pickle.xz": lzma.compress(PAYLOAD),
        "joblib.z": zlib.compress(PAYLOAD),
        "broken.gz": gzip.compress(PAYLOAD, mtime=0)[:-12],
        "seven.7z": b"7z\xbc\xaf\x27\x1c" + PAYLOAD,
        "legacy.tar": tar_of({"pickle": PAYLOAD, "storages": bytes(64)}),
        "model.nemo": tar_of({"model_config.yaml": b"name: x\nencoder:\n  _target_: os.system\n"}),
        "slip.tar": tar_of({"../evil": b"x"}),
        "link.tar": tar_of({}, (("a", "/etc/passwd", tarfile.SYMTYPE),)),
        "hard link.tar": tar_of({}, (("a", "../../x", tarfile.LNKTYPE),)),
        "device.tar": tar_of({}, (("a", "", tarfile.CHRTYPE),)),
        "size that lies.tar": _patched(tar_of({"a": b"x" * 100}), b"ustar", 124 - 257, b"77777777777"),
        "packed.tgz": gzip.compress(tar_of({"pickle": PAYLOAD}), mtime=0),
        "objects.npy": _npy("'|O'", PAYLOAD),
        "objects in a field.npy": _npy("[('a', '<i4'), ('b', '|O')]", PAYLOAD),
        "header of a program.npy": _npy("__import__('os')", PAYLOAD),
        "header too long.npy": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{",
        "objects.npz": trust_zip({"a.npy": _npy("'|O'", PAYLOAD)}, zipfile.ZIP_DEFLATED),
    }  # fmt: skip


def weights() -> dict[str, bytes]:
    file = small_gguf(template=templates.BENIGN["chatml"])
    found = {}
    for name, (_, form) in file.fields.items():
        if name in ("value of llama.context_length", "value of tokenizer.ggml.bos_token_id"):
            continue  # A number that may be anything is no lie.
        for value in HUGE if form == "Q" else (2**32 - 1, 2**31):
            found[f"lie {name} {value}.gguf"] = file.with_field(name, value)
    raw = bytes(file.raw)
    found |= {f"cut at {at}.gguf": raw[:at] for at in range(4, len(raw) - 68, 37)}
    small = small_gguf()
    found |= {
        "overlap.gguf": small.with_field("offset of output.weight", 64),
        "gap.gguf": small.with_field("offset of output.weight", 128) + bytes(32),
        "unaligned.gguf": small.with_field("offset of output.weight", 97),
        "odd alignment.gguf": small.with_field("value of general.alignment", 33),
        "no alignment.gguf": small.with_field("value of general.alignment", 0),
        "gone type.gguf": small.with_field("type of output.weight", 4),
        "unknown type.gguf": small.with_field("type of output.weight", 99),
        "five dimensions.gguf": small.with_field("dimensions of output.weight", 5),
        "tail.gguf": bytes(small.raw) + bytes(28) + b"#!/bin/sh\necho inert\n",
        "zip tail.gguf": bytes(small.raw) + bytes(28) + torch_zip(),
        "special token outside.gguf": small.with_field("value of tokenizer.ggml.bos_token_id", 99),
        "doubled key.gguf": bytes(small.raw).replace(b"llama.context_length", b"general.architecture"),
        "doubled tensor.gguf": _doubled_tensor(),
        "nested arrays.gguf": _nested_arrays(),
        "template.gguf": bytes(small_gguf(template=templates.HOSTILE["word in content"][0]).raw),
    }  # fmt: skip
    return found | _safetensors()


def _doubled_tensor() -> bytes:
    file = Gguf()
    file.put("tensors", "Q", 2)
    file.put("keys", "Q", 0)
    file.tensor("a", (8,), 0, 0)
    file.tensor("a", (8,), 0, 32)
    return file.data(64)


def _nested_arrays() -> bytes:
    file = Gguf()
    file.put("tensors", "Q", 0)
    file.put("keys", "Q", 1)
    file.text("key", "a")
    file.put("kind", "I", 9)
    for number in range(1_000):
        file.put(f"inner {number}", "I", 9)
        file.put(f"count {number}", "Q", 1)
    return bytes(file.raw)


def _safetensors() -> dict[str, bytes]:
    data = bytes(range(16))
    good = json.dumps(row())
    headers: dict[str, tuple[Any, bytes]] = {
        "overlap": ({"a": row(), "b": row("U8", (8,), (8, 16))}, data),
        "gap": ({"a": row("U8", (4,), (0, 4)), "b": row("U8", (4,), (12, 16))}, data),
        "tail": ({"a": row()}, data + b"more"),
        "zip tail": ({"a": row()}, data + torch_zip()),
        "past the end": ({"a": row(offsets=(0, 160))}, data),
        "past all ends": ({"a": row(offsets=(0, 2**63))}, data),
        "backwards": ({"a": row(offsets=(16, 0))}, data),
        "negative": ({"a": row(offsets=(-16, 0))}, data),
        "other size": ({"a": row(shape=(3, 3))}, data),
        "huge shape": ({"a": row(shape=(2**62, 2**62))}, data),
        "negative shape": ({"a": row(shape=(-2, -2))}, data),
        "unknown type": ({"a": row("F99")}, data),
        "many dimensions": ({"a": row(shape=(1,) * 5_000, offsets=(0, 4))}, data[:4]),
        "doubled name": (f'{{"a": {good}, "a": {good}}}'.encode(), data),
        "doubled name, escaped": (f'{{"a": {good}, "\\u0061": {good}}}'.encode(), data),
        "doubled field": (b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}', data),
        "more fields": ({"a": {**row(), "code": "x"}}, data),
        "no offsets": ({"a": {"dtype": "F32", "shape": [4]}}, data),
        "metadata of numbers": ({"__metadata__": {"a": 1}, "a": row()}, data),
        "no JSON": (b'{"a": {"dtype"', data),
        "a list": (b'["dtype"]', data),
        "deep JSON": (b'{"dtype":' + b"[" * 100_000 + b"]" * 100_000 + b"}", data),
        "long number": (b'{"a": {"dtype": "F32", "shape": [' + b"9" * 10_000 + b'], "data_offsets": [0, 16]}}', data),
        "hidden letters in a name": ({"a\u202eb": row()}, data),
        "bytes after the JSON": (json.dumps({"a": row()}).encode() + b"\0\0", data),
    }  # fmt: skip
    found = {
        f"{name}.safetensors": safetensors(header, body) for name, (header, body) in headers.items()
    }
    for length in (0, 1, 2**64 - 1, 2**63, 10**8, len(SMALL_SAFETENSORS), 10):
        found[f"header length {length}.safetensors"] = (
            struct.pack("<Q", length) + SMALL_SAFETENSORS[8:]
        )
    return found | {
        "cut.safetensors": SMALL_SAFETENSORS[:50],
        "empty.safetensors": b"",
        "short.safetensors": b"\1\0",
    }


def _field(number: int, value: bytes | int) -> bytes:
    """A protobuf field."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def onnx(*, domain: bytes = b"", location: bytes | None = None) -> bytes:
    node = (
        _field(1, b"x")
        + _field(2, b"y")
        + _field(4, b"Relu")
        + (_field(7, domain) if domain else b"")
    )
    tensor = _field(1, 4) + _field(2, 1) + _field(8, b"w")
    if location is not None:
        tensor += _field(13, _field(1, b"location") + _field(2, location)) + _field(14, 1)
    graph = _field(1, node) + _field(2, b"g") + _field(5, tensor)
    return _field(1, 8) + _field(2, b"corpus") + _field(7, graph) + _field(8, _field(2, 17))


def others() -> dict[str, bytes]:
    lambda_layer = {
        "class_name": "Sequential",
        "config": {
            "layers": [{"class_name": "Lambda", "config": {"function": ["4wAAAA", None, None]}}]
        },
    }
    function = {"module": "builtins", "class_name": "function", "config": "eval"}
    found = {
        "lambda.keras": trust_zip({"config.json": json.dumps(lambda_layer).encode(), "metadata.json": b"{}"}),
        "module.keras": trust_zip({"config.json": json.dumps({"class_name": "Sequential", "config": {"activation": function}}).encode()}),
        "lambda.h5": b"\x89HDF\r\n\x1a\n" + bytes(100) + json.dumps(lambda_layer).encode(),
        "plain.h5": b"\x89HDF\r\n\x1a\n" + bytes(200),
        "outside.onnx": onnx(location=b"../../../etc/passwd"),
        "absolute.onnx": onnx(location=b"/etc/passwd"),
        "custom.onnx": onnx(domain=b"com.evil"),
        "broken.onnx": onnx()[:-3] + b"\xff\xff\xff",
        "broken inside.onnx": onnx().replace(_field(4, b"Relu"), b"\x22\xff" + b"Relu"),
        "program.pt": trust_zip({"m/data.pkl": pickle.dumps(1), "m/code/__torch__.py": b"def forward(self):\n  return 1\n"}),
        "saved_model.pb": _field(1, 1) + _field(2, _field(2, _field(1, _field(1, b"n") + _field(2, b"WriteFile")))),
        "graph alone.pb": _field(2, _field(2, _field(1, _field(1, b"n") + _field(2, b"PyFunc")))),
        "model.skops": trust_zip({"schema.json": json.dumps({"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"}).encode()}),
        "settings.yaml": b"x: \"{{ config.__class__.__init__ }}\"\n",
        "model.tflite": b"\x1c\0\0\0TFL3" + bytes(40) + b"FlexWriteFile\0",
        "weights.bin": b"\x7fELF" + bytes(60),
        "model.dat": b"MZ" + bytes(58) + b"\x40\0\0\0PE\0\0",
        "data.model": b"\xcf\xfa\xed\xfe" + bytes(60),
        "code.bin": b"\0asm\x01\0\0\0",
        "old.bin": b"tjgg" + bytes(40),
        "noise.bin": bytes(range(255, -1, -1)) * 4,
        "config.json": json.dumps({"auto_map": {"AutoModel": "modeling_x.X"}}).encode(),
        "config elsewhere.json": json.dumps({"auto_map": {"AutoModel": "other/repo--modeling_x.X"}}).encode(),
        "escaped key.json": b'{"\\u0061uto_map": {"AutoModel": "modeling_x.X"}}',
        "model_index.json": json.dumps({"a": {"_target_": "subprocess.check_output"}}).encode(),
        "model.safetensors.index.json": json.dumps({"weight_map": {"a": "../../x.safetensors"}}).encode(),
        "broken.json": b'{"a": ',
        "deep.json": b"[" * 200_000 + b"]" * 200_000,
        "hparams.yaml": b"x: !!python/object/apply:os.system ['echo inert']\n",
        "modeling_x.py": b"print('inert')\n",
        "setup.sh": b"#!/bin/sh\necho inert\n",
        "x.pth": b"import os; print('inert')\n",
        "sitecustomize.py": b"print('inert')\n",
        "compiled.pyc": b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(40),
        ".env": b"KEY=inert\n",
        "c\u043enfig.json": b"{}",
        "mod\u200bel.txt": b"hello",
        "tokenizer_config.json": json.dumps({"chat_template": templates.HOSTILE["subclasses"][0]}).encode(),
        "templates.json": json.dumps({"chat_template": [{"name": "tool_use", "template": templates.HOSTILE["include"][0]}]}).encode(),
    }  # fmt: skip
    return found


def template_files() -> dict[str, bytes]:
    found = {f"{name}.jinja": text.encode() for name, (text, _) in templates.HOSTILE.items()}
    return found | {
        f"broken {name}.jinja": text.encode() for name, text in templates.BROKEN.items()
    }


def hostile() -> dict[str, bytes]:
    """Give every hostile file by its name."""
    groups = (pickles(), archives(), weights(), others(), template_files())
    found: dict[str, bytes] = {}
    for group in groups:
        assert not found.keys() & group.keys()
        found |= group
    return found


def benign() -> dict[str, bytes]:
    """Give files as honest models have them."""
    piece = _field(1, _field(1, b"<unk>") + b"\x15\0\0\0\0" + _field(3, 2))
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    found = {
        "v1.gguf": bytes(small_gguf(1).raw),
        "v2.gguf": bytes(small_gguf(2).raw),
        "v3.gguf": bytes(small_gguf(template=templates.BENIGN["headers and a date"]).raw),
        "big.gguf": bytes(small_gguf(big=True).raw),
        "padded.gguf": bytes(small_gguf().raw) + bytes(28),
        "a.safetensors": SMALL_SAFETENSORS,
        "empty tensors.safetensors": safetensors({"a": row("F32", (0, 4), (0, 0))}),
        "no tensors.safetensors": safetensors({}),
        "spaces.safetensors": safetensors(json.dumps({"a": row()}).encode() + b"    ", bytes(16)),
        "half bytes.safetensors": safetensors({"a": row("F4", (4,), (0, 2))}, b"\1\2"),
        "metadata with braces.safetensors": safetensors({"__metadata__": {"a": '": {"dtype": 1}'}, "b": row()}, bytes(16)),
        "model.onnx": onnx(),
        "beside.onnx": onnx(location=b"weights.bin.data"),
        "ms.onnx": onnx(domain=b"com.microsoft"),
        "arrays.npz": trust_zip({"a.npy": _npy("'<f4'", bytes(4)), "b.npy": _npy("[('O', '<i4')]", bytes(4))}, zipfile.ZIP_DEFLATED),
        "config.json": json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": 64}).encode(),
        "tokenizer.json": json.dumps({"version": "1.0", "model": {"vocab": {f"t{i}": i for i in range(1_000)}}}).encode(),
        "tokenizer_config.json": json.dumps({"chat_template": templates.BENIGN["chatml"]}).encode(),
        "tokenizer.model": piece * 20,
        "model.safetensors.index.json": json.dumps({"weight_map": {"a": "a.safetensors"}}).encode(),
        "merges.txt": "#version: 0.2\nĠ t\nĠ a\n".encode(),
        "vocab.txt": b"[PAD]\n[UNK]\nos\nsystem\n",
        "README.md": b"---\nlicense: mit\n---\n# A model\n\nUse `{% for m in messages %}` or https://example.org.\n",
        "LICENSE": b"Copyright (c) 2026\n\nPermission is hereby granted, free of charge, ...\n",
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "hparams.yaml": b"model:\n  _target_: torch.nn.Linear\n",
        "picture.png": png,
        "weights.tar": tar_of({"a.safetensors": SMALL_SAFETENSORS}, (("b", "a.safetensors", tarfile.SYMTYPE),)),
        "weights.tar.gz": gzip.compress(tar_of({"a.safetensors": SMALL_SAFETENSORS}), mtime=0),
        "keras.keras": trust_zip({"config.json": json.dumps({"module": "keras", "class_name": "Sequential", "config": {"layers": [{"module": "keras.layers", "class_name": "Dense", "config": {"activation": "relu"}}]}}).encode()}),
        "empty.txt": b"",
    }  # fmt: skip
    return found | {f"{name}.jinja": text.encode() for name, text in templates.BENIGN.items()}


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write(target / "hostile", hostile())
    write(target / "benign", benign())
