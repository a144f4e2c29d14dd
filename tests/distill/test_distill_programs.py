"""The generated programs: each is built, fed the golden texts, and must agree with this process."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from golden_make import texts as made_texts
from golden_pages import in_chromium, served
from golden_standin import standin
from golden_texts import Answer, assert_same, golden_texts, reference
from golden_tools import call, fetched, library, program

from pointsman.distill.programs import LANGUAGES, program_files, write_programs
from pointsman.distill.rows import Row
from pointsman.distill.train import TrainSettings, train
from pointsman.errors import DistillError

# Names that need escaping in JSON, HTML or a shell, and one in another script.
LABELS = ('say "hi"', "back\\slash", "日本語", "<b>&amp;", "it's", "tab\there")
# What a line of standard input cannot hold, or an argument is likeliest to lose.
ARGUMENTS = ["", " ", "two\nlines", "🎉 emoji", "--help", "a" * 20_000]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One as it is trained, whose graph has everything in it, and one that tells several labels."""
    folder = tmp_path_factory.mktemp("models")
    rows = [
        Row(f"{label} {text.decode('utf-8', 'replace')[:200]}", (label,))
        for number, text in enumerate(golden_texts())
        for label in (LABELS[number % len(LABELS)],)
    ]
    settings = TrainSettings(size_bytes=64 * 1024, quick=True)
    found = {"trained": train(rows, settings).onnx, "multi": standin(LABELS, multi=True)}
    paths = {kind: folder / f"{kind} model.onnx" for kind in found}
    for kind, path in paths.items():
        path.write_bytes(found[kind])
    return paths


@pytest.fixture(scope="module")
def expected(models: dict[str, Path]) -> dict[str, list[Answer]]:
    return {kind: reference(path.read_bytes(), golden_texts()) for kind, path in models.items()}


def build_python(here: Path) -> list[str | Path]:
    return [sys.executable, here / "classify.py"]


def build_node(here: Path) -> list[str | Path]:
    (here / "node_modules").symlink_to(fetched("node", "node_modules"))
    return [program("node"), here / "classify.mjs"]


def build_c(here: Path) -> list[str | Path]:
    return native(here, "C")


def build_cpp(here: Path) -> list[str | Path]:
    return native(here, "CXX")


def native(here: Path, language: str) -> list[str | Path]:
    """Build as the program's README says, with ONNX Runtime unpacked in a folder."""
    cmake, onnxruntime = program("cmake"), here / "onnxruntime"
    onnxruntime.mkdir()
    (onnxruntime / "include").symlink_to(fetched("c"))
    library(onnxruntime / "lib")
    flags = f"-DCMAKE_{language}_FLAGS=-O1 -Wall -Wextra -Werror"
    call([cmake, "-B", "build", f"-DONNXRUNTIME={onnxruntime}", flags], cwd=here)
    call([cmake, "--build", "build"], cwd=here)
    return [here / "build" / "classify"]


def build_go(here: Path) -> list[str | Path]:
    include, lib = fetched("c"), library(here / "lib")
    call(
        [fetched("go", "go/bin/go"), "build", "-o", "classify", "."],
        cwd=here,
        GOTOOLCHAIN="local",
        GOFLAGS="-mod=mod",
        GOPROXY="off",
        CGO_CFLAGS=f"-I{include}",
        CGO_LDFLAGS=f"-L{lib} -Wl,-rpath,{lib}",
    )
    return [here / "classify"]


def build_java(here: Path) -> list[str | Path]:
    compiler, machine, jar = program("javac"), program("java"), fetched("jvm", "onnxruntime.jar")
    sources = sorted((here / "src/main/java").glob("*.java"))
    call([compiler, "-Xlint:all", "-Werror", "-d", here / "out", "-cp", jar, *sources])
    return [machine, "-cp", f"{here / 'out'}:{jar}", "Classify"]


def build_kotlin(here: Path) -> list[str | Path]:
    machine, jars = program("java"), fetched("jvm")
    compiler = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
    tools = ":".join(str(each) for each in jars.glob("kotlin*.jar"))
    libraries = f"{jars / 'onnxruntime.jar'}:{jars / 'kotlin-stdlib.jar'}"
    options = ["-Werror", "-no-reflect", "-no-stdlib", "-kotlin-home", here, "-cp", libraries]
    sources = sorted((here / "src/main/kotlin").glob("*.kt"))
    call([machine, "-cp", tools, compiler, *options, "-d", here / "out.jar", *sources])
    return [machine, "-cp", f"{here / 'out.jar'}:{libraries}", "ClassifyKt"]


BUILDS: dict[str, Callable[[Path], list[str | Path]]] = {
    "python": build_python,
    "node": build_node,
    "c": build_c,
    "java": build_java,
    "cpp": build_cpp,
    "go": build_go,
    "kotlin": build_kotlin,
}
# Each takes over five seconds to build.
SLOW = {"go", "kotlin"}


def answers(output: bytes) -> list[Answer]:
    found = []
    for line in output.decode().splitlines():
        value = json.loads(line)
        assert value.keys() == {"labels", "scores"}
        found.append(Answer(value["labels"], value["scores"]))
    return found


@pytest.mark.parametrize(
    "language",
    [pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else []) for each in BUILDS],
)
def test_a_program_agrees_on_the_golden_texts(
    language: str,
    tmp_path: Path,
    models: dict[str, Path],
    expected: dict[str, list[Answer]],
) -> None:
    write_programs(tmp_path, [language])
    command = BUILDS[language](tmp_path / language)
    lines = b"\n".join(golden_texts())
    for kind, model in models.items():
        # The last line is there with a line feed after it, and without one.
        ends = b"\n" if kind == "multi" else b""
        assert_same(answers(call([*command, model], stdin=lines + ends)), expected[kind])
        arguments = [each.encode() for each in ARGUMENTS]
        found = answers(call([*command, model, *ARGUMENTS], stdin=b"not read"))
        assert_same(found, reference(model.read_bytes(), arguments))


# Of each year one; the releases between them are tried too where there is time.
RUNTIMES = ["1.20.1", "1.24.4", "1.30.0"]
MORE_RUNTIMES = ["1.21.1", "1.22.1", "1.23.2", "1.25.0", "1.26.0", "1.27.0", "1.28.0", "1.29.0"]


@pytest.fixture(scope="module")
def kinds(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model of each kind of graph: one label, two lean ones, one or none, several."""
    folder = tmp_path_factory.mktemp("kinds")
    texts = [text.decode("utf-8", "replace")[:100] for text in golden_texts()[:120]]
    one = [Row(f"{LABELS[at % 2]} {text}", (LABELS[at % 2],)) for at, text in enumerate(texts)]
    pair = (LABELS[0], LABELS[1])
    several = [
        Row(f"{' '.join(pair[: at % 3])} {text}", pair[: at % 3]) for at, text in enumerate(texts)
    ]
    found = {
        "two": train(one, TrainSettings(size_bytes=64 * 1024, quick=True)).onnx,
        "other": train(one, TrainSettings(size_bytes=64 * 1024, quick=True, other=True)).onnx,
        "several": train(several, TrainSettings(size_bytes=64 * 1024, quick=True)).onnx,
    }
    for kind, data in found.items():
        (folder / f"{kind}.onnx").write_bytes(data)
    return {"trained": models["trained"], **{kind: folder / f"{kind}.onnx" for kind in found}}


@pytest.mark.parametrize(
    "version", [*RUNTIMES, *(pytest.param(each, marks=pytest.mark.slow) for each in MORE_RUNTIMES)]
)
def test_older_runtimes_agree_on_the_golden_texts(
    version: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    runtime = fetched("runtimes", version)
    if not list(runtime.glob(f"onnxruntime/capi/*.{sys.implementation.cache_tag}-*")):
        pytest.skip(f"{runtime} is not of this Python: delete it and run scripts/program_tools.py")
    write_programs(tmp_path, ["python"])
    kinds: dict[str, Path] = request.getfixturevalue("kinds")
    for model in kinds.values():
        command = [sys.executable, tmp_path / "python" / "classify.py", model]
        output = call(command, stdin=b"\n".join(golden_texts()), PYTHONPATH=str(runtime))
        assert_same(answers(output), reference(model.read_bytes(), golden_texts()))


@pytest.mark.slow
def test_the_browser_agrees_on_the_golden_texts(
    tmp_path: Path, models: dict[str, Path], expected: dict[str, list[Answer]]
) -> None:
    write_programs(tmp_path, ["browser"])
    here = tmp_path / "browser"
    (here / "node_modules").symlink_to(fetched("node", "node_modules"))
    script = """async (texts) => {
        const { Classifier } = await import("./classifier.mjs");
        const classifier = await Classifier.load("model.onnx");
        const found = [];
        for (const text of texts) {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            found.push(await classifier.classify(bytes));
        }
        return found;
    }"""
    texts = [base64.b64encode(text).decode() for text in golden_texts()]
    for kind, model in models.items():
        (here / "model.onnx").write_bytes(model.read_bytes())
        with served(here) as address:
            page = in_chromium(f"{address}/index.html", script, texts, tmp_path)
        found = [Answer(each["labels"], each["scores"]) for each in page["value"]]
        assert_same(found, expected[kind])
        assert page["errors"] == []


def test_the_golden_texts_are_what_the_script_makes_and_cover_what_they_should() -> None:
    texts = golden_texts()
    assert len(texts) == 500 == len(set(texts))
    assert b"" in texts
    assert max(map(len, texts)) == 100_000
    valid = [text for text in texts if text.decode("utf-8", "replace").encode() == text]
    assert len(texts) - len(valid) > 20
    # Python's table of names grows, and with it the scripts that are known.
    assert len(set(texts) & set(made_texts())) > 300


def test_programs_hold_nothing_of_a_model_and_say_how_to_run_them() -> None:
    files = program_files()
    assert {path.split("/")[0] for path in files} == {*LANGUAGES, "README.md"}
    for language in LANGUAGES:
        assert b"model.onnx" in files[f"{language}/README.md"], language
        assert len(files[f"{language}/README.md"].splitlines()) <= 16, language
    assert files["go/classifier.c"] == files["c/classifier.c"]


def test_programs_are_written_beside_what_lies_there(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.c").write_text("int x;")
    written = write_programs(tmp_path, ["c", "python"])
    assert {path.relative_to(tmp_path).parts[0] for path in written} == {"README.md", "c", "python"}
    assert (tmp_path / "c" / "mine.c").read_text() == "int x;"
    assert all(path.stat().st_size for path in written)


def test_a_language_without_a_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="no program in cobol"):
        write_programs(tmp_path, ["python", "cobol"])
    (tmp_path / "file").write_text("")
    with pytest.raises(DistillError, match="cannot be written"):
        write_programs(tmp_path / "file", ["python"])
