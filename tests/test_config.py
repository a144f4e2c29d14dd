from __future__ import annotations

import pytest

from pointsman.config import load_config, parse_config
from pointsman.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "pointsman.toml:2: unknown key 'server.prot'; did you mean 'port'?"),
        ("\n[providers.x]\nbase_ulr = 'a'", ":3: unknown key 'providers.x.base_ulr'"),
        ("[providers.x.timeouts]\nconect_s = 1", ":2: unknown key 'providers.x.timeouts.conect_s'"),
        ("[model.x]\nref = 'a:b'", ":1: unknown key 'model'; did you mean 'models'?"),
        (
            "[models.m]\nref='a:b'\n[models.m.price]\ninputs=3",
            ":4: unknown key 'models.m.price.inp",
        ),
        ("[server]\nport = 'a'", ":2: server.port: Expected `int`, got `str`"),
        ("[server]\nport = 70000", "a port is 0 to 65535"),
        ("[routes.auto]\ncandidates = ['a']\ndial = 3", ":3: routes.auto.dial: must be 0 to 1"),
        ("[routes.r]\ncandidates = []", ":2: routes.r.candidates: needs at least one ref"),
        ("[providers.'a:b']\nauth = 'none'", "has no ':'"),
        ("[providers.x]\nbase_url = 'ftp://x'", ":2: providers.x.base_url: no http or https URL"),
        ("[providers.x]\nretries = 99", "must be 0 to 10"),
        ("[providers.x.timeouts]\nidle_s = 0", "must be above 0"),
        ("[classifiers.x]\npaht = 'a'", ":2: unknown key 'classifiers.x.paht'"),
        (
            "[classifiers.spam]\npath='a'\n[guards.g]\nclassifier='spma'\nlabels=['s']",
            ":3: guards.g: there is no [classifiers.spma]; did you mean 'spam'?",
        ),
        (
            "[classifiers.x]\npath='a'\n[guards.g]\nclassifier='x'\nlabels=[]",
            ":3: guards.g: needs at least one label",
        ),
        (
            "[classifiers.x]\npath='a'\n[guards.g]\nclassifier='x'\nlabels=['s']\naction='drop'",
            "guards[...].action: Invalid enum value 'drop'",
        ),
        (
            "[routes.r]\ncandidates=['a']\n[[routes.r.rules]]\nclassifer='x'",
            "unknown key 'routes.r.rules.classifer'; did you mean 'classifier'?",
        ),
        (
            "[classifiers.x]\npath='a'\n[routes.r]\ncandidates=['a']\n"
            "rules=[{classifier='x', labels=['s'], candidates=[]}]",
            ":5: routes.r.rules: rule 1 needs at least one candidate",
        ),
        ("secrets = 1", "unknown key 'secrets'"),
        ("[server", "is no TOML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert message in str(caught.value)


def test_environment_goes_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text("[server]\nhost = '127.0.0.2'\nport = 9000\n")
    config = load_config(file, {"POINTSMAN_PORT": "9001", "POINTSMAN_HOME": str(tmp_path)})
    assert (config.server.host, config.server.port) == ("127.0.0.2", 9001)
    assert config.home == str(tmp_path)
    assert load_config(None, {"POINTSMAN_CONFIG": str(file)}).server.port == 9000


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml", {})


def test_without_any_file_the_defaults_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(None, {}).server.host == "127.0.0.1"


def test_a_bad_port_in_the_environment_is_named():
    with pytest.raises(ConfigError, match="POINTSMAN_PORT"):
        load_config(None, {"POINTSMAN_PORT": "x"})


def test_secrets_are_not_in_the_repr(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {"OPENAI_API_KEY": "sk-secret-value"})
    assert config.secret("OPENAI_API_KEY") == "sk-secret-value"
    assert config.secret("UNSET") is None
    assert "sk-secret" not in repr(config)
