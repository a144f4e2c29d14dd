"""What a pickle of weights may import, and what is known to run code.

The first list decides: a name that is not on it is a finding. The second only says how bad.

Source: what torch.save (PyTorch 2.x), numpy.save (1.x, 2.x), joblib.dump and CPython's own copyreg
write; the modules of known bypasses from the advisories of picklescan (GHSA, up to 2026-10),
modelscan and fickling.
"""

from __future__ import annotations

__all__ = ["is_allowed", "is_dangerous"]

_STORAGES = (
    "Byte Char Short Int Long Half Float Double Bool BFloat16 ComplexFloat ComplexDouble QInt8 QInt32"
    " QUInt8 QUInt4x2 QUInt2x4 Untyped"
)
_DTYPES = (
    "float16 float32 float64 bfloat16 half float double int8 int16 int32 int64 uint8 uint16 uint32"
    " uint64 bool complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz"
    " short int long qint8 quint8 qint32"
)
_NUMPY_DTYPES = (
    "Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64 Complex64"
    " Complex128 Object Str Bytes"
)
_ALLOWED = {
    "collections": {"OrderedDict", "defaultdict", "Counter", "deque"},
    "torch": {
        *(f"{kind}Storage" for kind in _STORAGES.split()), *_DTYPES.split(),
        "Size", "device", "Tensor", "strided", "sparse_coo", "preserve_format", "contiguous_format",
    },
    "torch.storage": {"UntypedStorage", "TypedStorage"},
    "torch._utils": {
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter",
        "_rebuild_parameter_with_state", "_rebuild_qtensor", "_rebuild_sparse_tensor",
        "_rebuild_meta_tensor_no_storage", "_rebuild_device_tensor_from_numpy",
        "_rebuild_device_tensor_from_cpu_tensor",
    },
    "torch._tensor": {"_rebuild_from_type_v2"},
    "torch.nn.parameter": {"Parameter", "Buffer"},
    "torch.serialization": {"_get_layout"},
    "torch.jit._pickle": {
        "build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "build_tensor_from_id",
    },
    "numpy": {
        "dtype", "ndarray", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
        "uint64", "float16", "float32", "float64", "complex64", "complex128", "str_", "bytes_",
    },
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.dtypes": {
        f"{kind}DType"
        for kind in _NUMPY_DTYPES.split()
    },
    "joblib.numpy_pickle": {"NumpyArrayWrapper"},
    "_codecs": {"encode"},
    "copyreg": {"_reconstructor", "__newobj__", "__newobj_ex__"},
    "copy_reg": {"_reconstructor"},
    "builtins": {
        "set", "frozenset", "list", "dict", "tuple", "int", "float", "bool", "str", "bytes",
        "bytearray", "complex", "slice", "range", "object",
    },
    "datetime": {"datetime", "date", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "uuid": {"UUID"},
}  # fmt: skip
_ALLOWED["__builtin__"] = _ALLOWED["builtins"] | {"unicode", "long", "xrange"}

_MODULES = """
    os posix nt ntpath posixpath subprocess _posixsubprocess sys builtins __builtin__ importlib
    _frozen_importlib _frozen_importlib_external imp runpy pty commands popen2 shutil socket ctypes
    _ctypes cffi code codeop codecs marshal types operator _operator functools _functools pickle
    _pickle cPickle dill cloudpickle joblib pydoc pdb bdb timeit cProfile profile trace doctest
    asyncio multiprocessing _multiprocessing concurrent threading _thread webbrowser antigravity pip
    setuptools pkg_resources distutils venv ensurepip lib2to3 idlelib test unittest site sitecustomize
    usercustomize zipimport pkgutil inspect ast symtable compileall py_compile tempfile http urllib
    urllib2 requests httpx aiohttp ftplib smtplib telnetlib imaplib poplib nntplib ssl xmlrpc
    socketserver wsgiref nltk mailcap getpass platform signal gc atexit io _io pathlib glob fileinput
    linecache logging sqlite3 _sqlite3 tkinter _tkinter turtle paramiko fabric uuid cgi cgitb crypt
    readline rlcompleter cmd shlex plistlib configparser dbm shelve zipfile tarfile zipapp string
    pyximport cython numba numexpr sympy jinja2 mako yaml
    IPython ipykernel jupyter_client notebook debugpy pytest _pytest py gettext mimetypes netrc
    optparse argparse sched select selectors
"""
_DANGEROUS_MODULES = frozenset(_MODULES.split())
_DANGEROUS_PARTS = (
    "numpy.f2py", "numpy.distutils", "numpy.testing", "torch.hub", "torch.jit", "torch.utils",
    "torch._inductor", "torch._dynamo", "torch.serialization", "torch.storage", "torch.package",
    "torch.distributed.rpc", "torch.fx", "torch.cuda", "torch.testing", "torch.ops", "torch.classes",
    "torch._ops", "torch._utils_internal", "torch.multiprocessing", "torch.onnx",
)  # fmt: skip
_NAMES = """
    eval exec execfile compile open input __import__ getattr setattr delattr globals locals vars
    breakpoint apply system popen Popen load loads run call
"""
_DANGEROUS_NAMES = frozenset(_NAMES.split())


def is_allowed(module: str, name: str) -> bool:
    """Whether weights need this import."""
    # TorchScript's own classes are of a module that Python has not.
    return name in _ALLOWED.get(module, ()) or module.startswith("__torch__.")


def is_dangerous(module: str, name: str) -> bool:
    """Whether an import that is not allowed is known to run commands or load code."""
    if is_allowed(module, name):
        return False
    parts = {module.partition(".")[0], *name.split(".")[:-1]}
    return (
        bool(parts & _DANGEROUS_MODULES)
        or name.rpartition(".")[2] in _DANGEROUS_NAMES
        or any(module == part or module.startswith(part + ".") for part in _DANGEROUS_PARTS)
    )


DANGEROUS_MODULES = tuple(
    sorted(
        {"os", "posix", "nt", "subprocess", "builtins", "__builtin__", "importlib", "runpy", "pty"}
    )
)
