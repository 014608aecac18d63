"""What the environment may say, and in which words it is told that it is wrong."""

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import env
from holdfast.errors import ConfigError, EnvError, HoldfastError

POSTGRES = "postgresql://ann:s3cret@db.example:5433/work"
REDIS = "redis://:s3cret@cache.example:6380/2"


def load(tmp_path: Path, **variables: str) -> env.Env:
    return env.load({"HOLDFAST_DATA_DIR": str(tmp_path), **variables})


def test_nothing_set_means_embedded_servers_and_the_demo(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found == env.Env(data_dir=tmp_path)
    assert (found.database_url, found.redis_url, found.demo, found.payload_limit) == (None, None, True, 1024 * 1024)


def test_everything_set_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    found = load(
        tmp_path,
        DATABASE_URL=POSTGRES,
        REDIS_URL=REDIS,
        HOLDFAST_TASKS=f"json.decoder, {tmp_path}/mine.py,json.decoder",
        HOLDFAST_SECRET_KEY="k" * 32,
        HOLDFAST_ALLOWED_HOSTS="holdfast.example.com, .example.org",
        HOLDFAST_PUBLIC_URL="https://holdfast.example.com/",
        HOLDFAST_DEMO="no",
        HOLDFAST_PAYLOAD_LIMIT="2048",
    )
    assert (found.database_url, found.redis_url) == (POSTGRES, REDIS)
    assert found.tasks == ("json.decoder", f"{tmp_path}/mine.py")
    assert found.allowed_hosts == ("holdfast.example.com", ".example.org", "localhost", "127.0.0.1", "[::1]")
    assert (found.public_url, found.demo, found.payload_limit) == ("https://holdfast.example.com", False, 2048)


def test_a_mail_server_is_taken_apart_and_its_password_shown_to_nobody(tmp_path: Path) -> None:
    found = load(
        tmp_path, HOLDFAST_EMAIL_URL="smtp+tls://ann%40x:s3%2Fcret@mail.example", HOLDFAST_EMAIL_FROM="H <h@x.org>"
    )
    assert found.mail == env.Mail("mail.example", 587, "ann@x", "s3/cret", starttls=True)
    assert "s3/cret" not in repr(found)
    assert found.mail_from == "H <h@x.org>"
    assert load(tmp_path, HOLDFAST_EMAIL_URL="smtps://mail.example").mail == env.Mail("mail.example", 465, tls=True)
    assert load(tmp_path, HOLDFAST_EMAIL_URL="console:", HOLDFAST_DEBUG="1").mail == env.Mail()


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    assert load(tmp_path, DATABASE_URL="", HOLDFAST_TASKS=" ", HOLDFAST_DEMO="") == env.Env(data_dir=tmp_path)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DATABASE_URL", "mysql://u:s3cret@h/x", "the scheme is 'mysql'"),
        ("DATABASE_URL", "postgresql+psycopg://u:s3cret@h/x", "the scheme is 'postgresql+psycopg'"),
        ("DATABASE_URL", "u:s3cret@h/x", "it has no scheme"),
        ("DATABASE_URL", "postgresql://u:s3cret@h", "it names no database"),
        ("DATABASE_URL", "postgresql://u:s3cret@h:99999/x", "its port is not a number from 1 to 65535"),
        ("DATABASE_URL", "postgresql://u:s3cret@h:port/x", "its port is not a number"),
        ("DATABASE_URL", "postgresql://u:s3 cret@h/x", "it cannot be read"),
        ("DATABASE_URL", "postgresql://u:s3cret@h/x?nonsense=1", "it cannot be read"),
        ("REDIS_URL", "memcached://:s3cret@h", "the scheme is 'memcached'"),
        ("REDIS_URL", "h:6379", "it has no scheme"),
        ("REDIS_URL", "redis://:s3cret@h:port/0", "its port is not a number"),
        ("REDIS_URL", "redis://:s3cret@h:6379/cache", "its database 'cache' is not a number"),
        ("REDIS_URL", "redis://", "it names no host"),
        ("REDIS_URL", "unix://run/valkey.sock", "the socket's path is not absolute"),
        ("HOLDFAST_TASKS", "no_such_module_anywhere", "there is no module 'no_such_module_anywhere'"),
        ("HOLDFAST_TASKS", "json.nothing", "there is no module 'json.nothing'"),
        ("HOLDFAST_TASKS", "json.decoder.deeper", "there is no module 'json.decoder.deeper'"),
        ("HOLDFAST_TASKS", "/nowhere/tasks.py", "there is no file /nowhere/tasks.py"),
        ("HOLDFAST_TASKS", "my-tasks", "'my-tasks' is no module's name"),
        ("HOLDFAST_SECRET_KEY", "short", "it has 5 characters"),
        ("HOLDFAST_ALLOWED_HOSTS", "http://example.com", "'http://example.com' is no host name"),
        ("HOLDFAST_PUBLIC_URL", "holdfast.example.com", "is not a scheme and a host"),
        ("HOLDFAST_STUCK_FLOOR", "1", "'1' is not a number of seconds from 3 to 86400"),
        ("HOLDFAST_EMAIL_URL", "console:", "reaches nobody, and HOLDFAST_DEBUG is off"),
        ("HOLDFAST_EMAIL_URL", "imap://u:s3cret@mail.example", "the scheme is 'imap'"),
        ("HOLDFAST_EMAIL_URL", "mail.example", "it has no scheme"),
        ("HOLDFAST_EMAIL_URL", "smtp://u:s3cret@mail.example:99999", "its port is not a number"),
        ("HOLDFAST_EMAIL_URL", "smtp://", "it is not a scheme and a host"),
        ("HOLDFAST_EMAIL_URL", "smtp://u:s3cret@mail.example/box", "it is not a scheme and a host"),
        ("HOLDFAST_EMAIL_FROM", "Holdfast", "is no address"),
        ("HOLDFAST_DEMO", "maybe", "'maybe' is neither yes nor no"),
        ("HOLDFAST_PAYLOAD_LIMIT", "1MB", "'1MB' is not a number of bytes"),
        ("HOLDFAST_PAYLOAD_LIMIT", "0", "'0' is not a number of bytes"),
        ("HOLDFAST_PAYLOAD_LIMIT", "²", "'²' is not a number of bytes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_that_names_the_variable(
    tmp_path: Path, variable: str, value: str, words: str
) -> None:
    others = {"DATABASE_URL": POSTGRES, "REDIS_URL": REDIS} if variable in {"DATABASE_URL", "REDIS_URL"} else {}
    with pytest.raises(EnvError) as caught:
        load(tmp_path, **{**others, variable: value})
    text = str(caught.value)
    assert caught.value.exit_code == 2
    assert text.startswith(f"{variable}: ")
    assert words in text
    assert "\n" not in text
    assert "s3cret" not in text
    assert text.endswith(".")
    assert caught.value.remedy in text


@pytest.mark.parametrize(("given", "missing"), [("DATABASE_URL", "REDIS_URL"), ("REDIS_URL", "DATABASE_URL")])
def test_one_server_without_the_other_is_refused(tmp_path: Path, given: str, missing: str) -> None:
    with pytest.raises(EnvError, match=f"{missing}: it is not set, while {given} is"):
        load(tmp_path, **{given: POSTGRES if given == "DATABASE_URL" else REDIS})


def test_a_database_url_is_taken_apart() -> None:
    found = env.parse_database_url("postgres://a%40b:p%2Fw@/work?host=%2Frun%2Fpg&sslmode=require&connect_timeout=3")
    assert (found.name, found.user, found.password, found.host) == ("work", "a@b", "p/w", "/run/pg")
    assert dict(found.options) == {"sslmode": "require", "connect_timeout": "3"}
    assert "p/w" not in repr(found)


@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=40))
def test_any_password_survives_the_url_of_a_socket_and_stays_out_of_what_is_shown(password: str) -> None:
    url = env.socket_database_url(Path("/run/holdfast"), "holdfast", password, "work")
    found = env.parse_database_url(url)
    assert (found.password, found.host, found.name) == (password, "/run/holdfast", "work")
    assert env.without_password(url) == env.socket_database_url(Path("/run/holdfast"), "holdfast", "…", "work").replace(
        "%E2%80%A6", "…"
    )


def test_passwords_of_redis_stay_out_of_what_is_shown() -> None:
    assert env.without_password("redis://:s3cret@h:1/0") == "redis://:…@h:1/0"
    assert env.without_password("unix:///x.sock?db=0&password=s3cret") == "unix:///x.sock?db=0&password=…"


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:6380/1", "redis://[::1]:6379", "unix:///x.sock?db=3"])
def test_these_urls_of_redis_are_right(url: str) -> None:
    env.check_redis_url(url)


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(EnvError, match=r"HOLDFAST_DATA_DIR: .*file is a file, not a folder\. Name a folder"):
            env.load({"HOLDFAST_DATA_DIR": str(path)})


def test_a_relative_data_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert env.load({"HOLDFAST_DATA_DIR": "data"}).data_dir == tmp_path / "data"


def test_the_default_data_folder_is_the_systems_for_root_and_the_users_own_otherwise() -> None:
    expected = Path("/var/lib/holdfast") if os.geteuid() == 0 else Path.home() / ".local/share/holdfast"
    assert env.default_data_dir() == expected


def test_looking_for_a_task_module_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "explosive_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "tasks.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert load(tmp_path, HOLDFAST_TASKS="explosive_package.tasks").tasks == ("explosive_package.tasks",)


def test_errors_survive_pickling_and_share_one_base() -> None:
    error = EnvError("X", "it is wrong", "Write it right")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "X: it is wrong. Write it right."
    assert isinstance(error, ConfigError)
    assert isinstance(error, HoldfastError)


def test_names_of_values_that_are_hidden_are_the_usual_ones_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert "password" in load(tmp_path).redact
    assert load(tmp_path, HOLDFAST_REDACT="iban, card.number,iban").redact == ("iban", "card.number")
    assert load(tmp_path, HOLDFAST_REDACT="none").redact == ()
    with pytest.raises(EnvError, match=r"HOLDFAST_REDACT.*'card number' is no name of a value"):
        load(tmp_path, HOLDFAST_REDACT="iban,card number")
