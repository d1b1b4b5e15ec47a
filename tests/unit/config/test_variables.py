"""Where the values of a service's variables come from: dotenv files, credentials, one another; and which are secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_graphs import PYTHON, graph, model_of, write
from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.config import ConfigError, Sources, read, resolve
from svcd.config.envs import Literal
from svcd.config.layers import Entry
from svcd.config.origins import Remark
from svcd.config.variables import variables_of
from svcd.values.secrets import looks_secret

DOTENV = """\
\ufeff# comment
export A=1
B = two words  # comment
C="with \\"quotes\\"
and a line"
D='single ${A} $$'
E=${A}/${B}
F=
A_URL=http://x/#fragment
"""


@pytest.mark.usefixtures("folder")
def test_an_env_file_is_read_as_dotenv_files_are():
    Path("model.env").write_text(DOTENV, "utf-8")
    assert model_of("[services.Model]\nenv_file = 'model.env'").envs == {
        "A": "1",
        "B": "two words",
        "C": 'with "quotes"\nand a line',
        "D": "single ${A} $$",
        "E": "1/two words",
        "F": "",
        "A_URL": "http://x/#fragment",
    }


@pytest.mark.usefixtures("folder")
def test_an_env_file_stands_just_under_the_envs_of_the_layer_that_names_it():
    write("low.env", "A=low\nB=low\nC=low\n")
    write("high.env", "A=high\nD=high\n")
    low = "[services.Model]\nenv_file = ['low.env']\nenvs = { B = 'envs' }\n"
    assert model_of(low, decorator={"envs": {"C": "decorator"}}).envs == {"A": "low", "B": "envs", "C": "low"}
    assert model_of(low, "[services.Model]\nenvs.A = 'more'").envs["A"] == "more"
    # A higher layer's list takes the place of the lower one, and overrules all of that layer.
    high = "[services.Model]\nenv_file = ['high.env']\n"
    assert model_of(low, high).envs == {"A": "high", "B": "envs", "D": "high"}
    assert model_of(low, "[services.Model]\nenv_file = []\n").envs == {"B": "envs"}
    assert model_of(low, sets=["services.Model.env_file=high.env"]).envs == {"A": "high", "B": "envs", "D": "high"}


@pytest.mark.usefixtures("folder")
def test_a_later_file_overrules_an_earlier_one_and_both_are_found_from_the_file_that_names_them():
    Path("conf").mkdir()
    write("conf/a.env", "A=a\nB=a\n")
    write("conf/b.env", "B=b\n")
    write("conf/more.toml", "[services.Model]\nenv_file = ['a.env', 'b.env']\n")
    write("svcd.toml", '[app]\nservice = "service:Model"\n')
    documents = read(Sources(files=[Path("svcd.toml"), Path("conf/more.toml")], environ={}))
    assert resolve(documents, graph(Model={}), default_python=PYTHON).services["Model"].envs == {"A": "a", "B": "b"}


@pytest.mark.usefixtures("folder")
def test_what_only_seems_a_key_is_a_variable():
    """`env_file` and `instance_type` are fine names for variables."""
    assert model_of("[services.Model.envs]\nenv_file = 'x'\ninstance_type = 'y'\npython = 'z'").envs == {
        "env_file": "x",
        "instance_type": "y",
        "python": "z",
    }


def test_a_credential_is_read_from_the_folder_that_systemd_names(folder: Path):
    (folder / "credentials").mkdir()
    (folder / "credentials" / "api-key").write_text("hunter2\n")
    text = "[services.Model]\nenvs = { KEY = { credential = 'api-key' } }"
    model = model_of(text, environ={"CREDENTIALS_DIRECTORY": str(folder / "credentials")})
    assert (model.envs, model.secret_envs) == ({"KEY": "hunter2"}, ("KEY",))
    with pytest.raises(ConfigError, match="credentials/api-key can't be read: No such file or directory"):
        model_of(text, environ={"CREDENTIALS_DIRECTORY": "/credentials"})


@pytest.mark.usefixtures("folder")
def test_a_variable_may_refer_to_others_of_its_service():
    text = (
        "[services.Model.envs]\nURL = 'http://${HOST}:${PORT}/$${x}$HOME'\nHOST = '${NAME}.local'\nPORT = '80'\n"
        "NAME = { from_host = true }\nFILE = { file = 'key' }\nRAW = { value = '${PORT}' }"
    )
    write("key", "${PORT}")
    assert model_of(text, environ={"NAME": "${box}"}).envs == {
        "URL": "http://${box}.local:80/${x}$HOME",
        "HOST": "${box}.local",
        "PORT": "80",
        "NAME": "${box}",
        "FILE": "${PORT}",  # what comes from outside is taken as it is
        "RAW": "80",
    }


@pytest.mark.usefixtures("folder")
def test_layers_may_refer_to_each_others_variables():
    write("model.env", "B=${A}-b\n")
    text = "[services.Model]\nenv_file = 'model.env'\nenvs.C = '${B}-c'"
    assert model_of(text, decorator={"envs": {"A": "a"}}).envs == {"A": "a", "B": "a-b", "C": "a-b-c"}


@pytest.mark.usefixtures("folder")
def test_what_grows_by_doubling_is_refused_and_does_not_fill_the_memory():
    lines = "\n".join(f"A{n} = '${{A{n + 1}}}${{A{n + 1}}}'" for n in range(40))
    with pytest.raises(ConfigError, match="longer than the 131072 bytes"):
        model_of(f"[services.Model.envs]\n{lines}\nA40 = 'xx'")


@pytest.mark.usefixtures("folder")
def test_a_chain_of_thousands_is_no_matter():
    lines = "\n".join(f"A{n} = '${{A{n + 1}}}'" for n in range(3000))
    assert model_of(f"[services.Model.envs]\n{lines}\nA3000 = 'x'").envs["A0"] == "x"


@pytest.mark.usefixtures("folder")
def test_which_are_secret():
    write("key", "k")
    write("model.env", "DOT=1\n")
    text = """
[services.Model]
env_file = "model.env"
[services.Model.envs]
API_KEY = "by its name"
PLAIN = "m"
DATABASE = "postgres://user:pw@host/db"
FILE = { file = "key" }
HOST = { from_host = true }
SHOWN = { from_host = true, secret = false }
MARKED = { value = "m", secret = true }
MAX_TOKENS = { value = "256", secret = false }
USES_FILE = "${FILE}"
USES_MARKED = { value = "${MARKED}", secret = false }
USES_PLAIN = "${PLAIN}"
GONE_KEY = { unset = true }
"""
    model = model_of(text, environ={"HOST": "h", "SHOWN": "s"})
    hidden = {"API_KEY", "DATABASE", "DOT", "FILE", "HOST", "MARKED", "USES_FILE", "USES_MARKED"}
    assert set(model.secret_envs) == hidden
    assert model.envs["GONE_KEY"] is None
    assert "by its name" not in repr(model)


@pytest.mark.parametrize(
    "name",
    [
        *("API_KEY", "api-key", "apiKey", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "PGPASS", "KEY2", "KEYS"),
        *(
            "SIGNING_KEY_PATH",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SSH_AUTH_SOCK",
            "SENTRY_DSN",
            "MYSECRET",
            "Passphrase",
        ),
    ],
)
def test_names_of_secrets(name: str):
    assert looks_secret(name, "x")


@pytest.mark.parametrize(
    "name", ["MODEL", "TOKENIZER", "TOKENIZERS_PARALLELISM", "KEYBOARD", "AUTHOR", "PATH", "PASSAGE"]
)
def test_names_of_others(name: str):
    assert not looks_secret(name, "x")


@pytest.mark.parametrize(
    ("value", "is_secret"),
    [
        ("https://user:pw@proxy:3128", True),
        ("https://token@github.com/x", True),
        ("redis://:pw@localhost", True),
        ("https://example.com/a@b", False),
        ("sk-abcdefgh1234", True),
        ("Bearer hf_abcdefgh1234", True),
        ("-----BEGIN RSA PRIVATE KEY-----\nx", True),
        ("eyJhbGciOiJIUzI1NiJ9.e30.x", True),
        ("/models/sk-learn.bin", False),
        ("task-force-something-long", False),
    ],
)
def test_values_of_secrets(value: str, is_secret: bool):
    assert looks_secret("MODEL", value) is is_secret


NAMES = st.sampled_from("ABCDE")
TEXTS = st.lists(st.text("x${}AB", max_size=4) | NAMES.map(lambda name: f"${{{name}}}"), max_size=4).map("".join)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(NAMES, TEXTS))
def test_any_references_end_in_a_value_or_a_problem(texts: dict[str, str]):
    source = Remark("somewhere", Path("/"), "file")
    entries = {name: Entry(Literal(text), source, ("services", "M", "envs", name)) for name, text in texts.items()}
    problems: list[object] = []
    found = variables_of(entries, {}, problems)  # type: ignore[arg-type]  # only counted here
    assert found.values.keys() <= texts.keys()
    assert bool(problems) == (found.values.keys() != texts.keys())
