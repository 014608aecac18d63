"""Settings, checks and what every response carries."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.test import Client, RequestFactory

from holdfast import checks, keys, middleware
from holdfast.embedded.folder import claim
from holdfast.errors import EnvError
from tests.support.up import environment


def test_without_servers_the_settings_load_and_say_so(tmp_path: Path) -> None:
    """In a process of its own: this one's may have been started beside living servers (pytest -n)."""
    code = "from django.conf import settings as s; print(s.HOLDFAST_SERVERS, s.DEBUG)"
    variables = environment(HOLDFAST_DATA_DIR=str(tmp_path / "data"), DJANGO_SETTINGS_MODULE="holdfast.settings")
    done = subprocess.run([sys.executable, "-P", "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert done.stdout == "none False\n"


def test_defaults_are_closed() -> None:
    assert settings.ALLOWED_HOSTS == ["localhost", "127.0.0.1", "[::1]", "testserver"]
    assert (settings.X_FRAME_OPTIONS, settings.SESSION_COOKIE_HTTPONLY) == ("DENY", True)
    assert settings.TIME_ZONE == "UTC"


def test_the_policy_allows_no_inline_code_and_a_view_may_narrow_it() -> None:
    assert "unsafe" not in middleware.POLICY
    assert middleware.POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self';")

    def narrow(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={middleware.HEADER: "sandbox"} if request.path == "/narrow" else {})

    answer = middleware.content_security_policy(narrow)
    assert answer(RequestFactory().get("/x")).headers[middleware.HEADER] == middleware.POLICY
    assert answer(RequestFactory().get("/narrow")).headers[middleware.HEADER] == "sandbox"


def test_healthz_answers_without_servers_and_static_files_without_a_build() -> None:
    client = Client()
    assert client.get("/healthz").content == b"ok\n"
    address = static("admin/css/base.css")
    assert address.startswith("/static/admin/css/base.css?v=")
    found = client.get(address)
    assert found.status_code == 200
    assert found["Content-Type"] == 'text/css; charset="utf-8"'
    assert found["Cache-Control"] == "max-age=31536000, public, immutable"
    assert client.get("/static/admin/css/base.css")["Cache-Control"] == "max-age=60, public"
    assert client.get(address, headers={"if-none-match": found["ETag"]}).status_code == 304
    assert client.get("/static/../pyproject.toml").status_code == 404


def test_a_static_file_that_does_not_exist_keeps_its_plain_address() -> None:
    assert static("nothing/here.css") == "/static/nothing/here.css"


def test_the_checks_pass_here() -> None:
    assert checks.platform_is_no_package(None) == []
    assert checks.pages_are_there(None) == []


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = keys.keep(folder, "django")
    assert len(first) == 64
    assert keys.keep(folder, "django") == first != keys.keep(folder, "valkey")
    assert (folder / "secrets" / "django").stat().st_mode & 0o777 == 0o600
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "secrets" / "django").write_text("")
    with pytest.raises(EnvError, match=r"the secret in .*/django is empty"):
        keys.keep(folder, "django")


def test_a_folder_of_a_later_layout_is_refused(tmp_path: Path) -> None:
    claim(tmp_path / "data")
    (tmp_path / "data" / ".holdfast").write_text("2\n")
    with pytest.raises(EnvError, match="was made by another version"):
        claim(tmp_path / "data")
