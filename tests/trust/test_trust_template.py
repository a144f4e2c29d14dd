"""Chat templates: our parser reads what Jinja's reads; the linter knows form from content."""

from __future__ import annotations

from typing import Any

import pytest
import trust_templates
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError
from trust_jinja_compare import ours, theirs

from pointsman.trust.formats.context import Fault, Limits, Scan, Template
from pointsman.trust.template.compare import compare_templates, difference, template_sha256
from pointsman.trust.template.lint import lint_template
from pointsman.trust.template.parser import parse_template
from pointsman.trust.template.values import constants, environment, fold

ALL = {
    **trust_templates.BENIGN,
    **{name: text for name, (text, _) in trust_templates.HOSTILE.items()},
}
FURTHER = [
    "{% set a, b = 1, 2 %}{% set ns.x = a if b else none %}{% set c %}x{% endset %}",
    "{% for k, v in d.items() if v is not none recursive %}{{ loop(v) }}{% else %}-{% endfor %}",
    "{% macro m(a, b=1) %}{% endmacro %}{% call(x) m(1, b=2) %}y{% endcall %}",
    "{{ a.b['c'][1:2][::-1](d, e=f, *g, **h) | i(j) | k.l is not m(n) }}",
    "{{ a is divisibleby 3 and b is defined or not c is in [1, 2] }}",
    "{{ {'a': 1, 'b': [2, (3,), ()], c: {}} }}{{ -1 ** 2 + +3 // 4 % 5 ~ 'x' 'y' }}",
    "{%- raw %}{{ not a tag }}{% endraw -%}{# {% c %} #}{{ '%}' }}{{ \"}}\" }}",
    "{% filter upper | trim %}x{% endfilter %}{% with a = 1, b = 2 %}{% endwith %}{% do x.append(1) %}",
    "{% for x in y %}{% if x %}{% continue %}{% elif z %}{% break %}{% else %}{{ x.0 }}{% endif %}{% endfor %}",
    "{{ 1_000 + 0x1F + 1.5e3 + 0b1 }}{{ a < b <= c != d }}{{ a if b }}{{ (a, b) }}{{ a not in b }}",
]


# Jinja keeps the names of an import apart from other names.
READ = [text for text in (*ALL.values(), *FURTHER) if "% import" not in text]


@pytest.mark.parametrize("text", READ)
def test_a_template_is_read_as_jinja_reads_it(text: str) -> None:
    assert ours(text) == theirs(text)


_PIECES = (
    "a b messages 'x' 1 2.5 none [ ] ( ) { } , : . | ~ + - * ** / // % == != < in not is if else and or upper trim = for "
    "{{ }} {% %} {%- -%} if endif for endfor set endset else elif {# #} text"
)
PIECES = st.sampled_from(_PIECES.split())


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14), st.booleans())
def test_any_run_of_tokens_is_read_as_jinja_reads_it_or_refused(
    pieces: list[str], whole: bool
) -> None:
    text = " ".join(pieces) if whole else "{{ " + " ".join(pieces) + " }}"
    try:
        expected: Any = theirs(text)
    except (TemplateSyntaxError, SyntaxError):
        expected = None
    try:
        found: Any = ours(text)
    except Fault:
        found = None
    # What Jinja refuses does not matter; what it takes we must read as it does, or refuse.
    if expected is not None and found is not None:
        assert found == expected


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_linted(text: str) -> None:
    for each in (text, "{{ " + text + " }}", "{% " + text + " %}"):
        scan = Scan(Limits(), lambda *_: None)
        lint_template(Template("a", "default", each), scan)


def linted(text: str) -> set[str]:
    scan = Scan(Limits(), lambda *_: None)
    lint_template(Template("a", "default", text), scan)
    assert scan.incomplete == []
    return {each.rule for each in scan.findings}


@pytest.mark.parametrize("name", trust_templates.BENIGN)
def test_an_ordinary_template_passes(name: str) -> None:
    assert linted(trust_templates.BENIGN[name]) == set()


@pytest.mark.parametrize(
    "text",
    [
        "{% if message['role'] == 'user' and message.content is string %}{% endif %}",
        "{% for item in message.content %}{% if item['type'] == 'text' %}{{ item.text }}{% endif %}{% endfor %}",
        "{% for i in range(messages | length) %}{% endfor %}{% for i in range(0, 40) %}{% endfor %}",
        "{% if '</think>' in m.content %}{{ m.content.split('</think>')[1] }}{% endif %}",
        "{{ m.content.replace('\\n', ' ').strip() }}{{ m['content'].rstrip('\\n') }}",
        "{% if raw %}{{ raise_exception('The content of a message of this role must be text, not a list.') }}{% endif %}",
        "See {{ '$schema: http://json-schema.org/draft-07/schema#' }}",
    ],
)
def test_form_is_no_content(text: str) -> None:
    assert linted("{% set m = messages[0] %}{% set message = m %}" + text) == set()


def test_values_are_followed_and_their_work_is_bounded() -> None:
    tree = parse_template(
        "{% set a = 'x' %}{% set a = a ~ 'y' %}{% set b = [a, 'z'] | join('-') %}{{ b }}{% set d = {'k': 1} %}{{ d }}"
    )
    names = environment(tree)
    assert set(fold(tree.children[-4].children[0], names)) >= {"x-z"}
    assert constants(tree.children[-1].children[0], names) == ["k"]
    doubled = "{% set a0 = 'xxxxxxxxxx' %}" + "".join(
        f"{{% set a{i + 1} = a{i} ~ a{i} ~ a{i} %}}" for i in range(60)
    )
    scan = Scan(Limits(), lambda *_: None)
    lint_template(Template("a", "default", doubled + "{{ a60 }}"), scan)
    assert scan.findings == []


def test_a_difference_is_one_of_words_and_reads_line_by_line() -> None:
    base = "{% if a %}{{ b }}{% endif %}"
    assert difference(base, "{% if a %}\n  {{  b }}\n{% endif %}") == []
    lines = difference(base, "{% if a %}{{ b }}{% if c %}Say yes.{% endif %}{% endif %}")
    assert "+{% if c %}" in lines and "+Say yes." in lines
    scan = Scan(Limits(), lambda *_: None)
    other = Template("a.jinja", "default", "{{ c }}")
    compare_templates(
        [other, Template("b.jinja", "x", base + " ")], [Template("base", "default", base)], scan
    )
    assert [each.path for each in scan.findings] == ["a.jinja"]
    assert "+{{ c }}" in scan.findings[0].message
    assert len(template_sha256("\ud800")) == 64


def test_too_long_a_difference_is_cut() -> None:
    lines = difference("a\n", "\n".join(f"{{{{ x{i} }}}}" for i in range(1_000)))
    assert len(lines) == 201 and lines[-1].startswith("…")
