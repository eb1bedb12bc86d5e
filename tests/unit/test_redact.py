"""Secrets stay out of files and messages; names stay inside the run folder; packed files are
bounded."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import time
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from typer.testing import CliRunner

from raytune_agents import readers
from raytune_agents.agents import mcp_servers
from raytune_agents.cli.app import app
from raytune_agents.config import ConfigError, SourceConfig, load_config
from raytune_agents.readers import SourceError
from raytune_agents.redact import SECRET_NAME, redact, without_known, without_secret_fields
from raytune_agents.runs import Counts, Run

SECRET = 'pl4nted"secret-é-0123456789'


@pytest.fixture(autouse=True)
def planted(monkeypatch) -> None:
    monkeypatch.setenv("TEACHER_API_KEY", SECRET)
    monkeypatch.setenv("SOME_TOKEN", "disabled")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"key {SECRET}!", "key [TEACHER_API_KEY]!"),
        (json.dumps({"key": SECRET}), '{"key": "[TEACHER_API_KEY]"}'),
        (json.dumps([SECRET], ensure_ascii=False), '["[TEACHER_API_KEY]"]'),
        ("auth disabled", "auth disabled"),
        ("https://me:hunter2@host/a.jsonl", "https://me:[password]@host/a.jsonl"),
        ("s3://b/k?X-Amz-Signature=abc123&v=2", "s3://b/k?X-Amz-Signature=[secret]&v=2"),
        ("https://h/a?api_key=zzz", "https://h/a?api_key=[secret]"),
        ("use hf_" + "a" * 34, "use [token]"),
        ("AKIA" + "B" * 16, "[token]"),
        *((f"use {token}.", "use [token].") for token in (
            "fw_" + "aB3" * 8, "tvly-dev-" + "aB3" * 8, "pplx-" + "aB3" * 16, "dapi" + "a1b2" * 8,
            "lsv2_pt_" + "a1b2" * 8 + "_a1b2c3", "sbp_" + "a1b2" * 10, "figd_" + "aB3" * 10,
            "ntn_" + "aB3" * 14, "hvs.CAES" + "aB3" * 8, "dp.pt." + "aB3" * 14,
            "pul-" + "a1b2" * 10, "patAbCdEf12345678." + "a1b2" * 16, "key-" + "a1b2" * 8,
            "HRKU-" + "aB3" * 10, "vercel_blob_rw_" + "aB3" * 10)),
        *((f"use {token}.", "use [token].") for token in (
            "GOCSPX-" + "aB3" * 9, "1//0e" + "aB3" * 20, "sess-" + "aB3" * 13, "ABIA" + "B2" * 8,
            "abc8Q~" + "aB3" * 11, "whsec_" + "aB3" * 10, "SK" + "a1b2" * 8, "a1b2" * 8 + "-us12",
            "sq0atp-" + "aB3" * 7, "EAAC" + "aB3" * 20, "glsa_" + "aB3" * 10 + "_a1b2c3d4",
            "secret_" + "a1" * 21 + "b", "pcsk_" + "aB3" * 20, "ATCTT3" + "aB3" * 20,
            "sk_" + "a1b2" * 12, "csk-" + "aB3" * 16, "wandb_v1_" + "aB3" * 20,
            "aB3" * 4 + "xy.atlasv1." + "aB3" * 20, "dp.st.prd." + "aB3" * 13,
            "eyJhbGciOiJSU0EifQ" + ".aB3aB3aB3aB3" * 4, "sb_secret_" + "aB3" * 10)),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "[token]"),
        ("DB_PASSWORD=s3cr3t", "DB_PASSWORD=[secret]"),
        ("PGPASSWORD=correcthorse psql", "PGPASSWORD=[secret] psql"),
        ('{"password": "hunter2"}', '{"password": "[secret]"}'),
        ("host=h password=s3cr3t dbname=d", "host=h password=[secret] dbname=d"),
        ("<password>s3cr3tpw</password>", "<password>[secret]</password>"),
        ('<add key="ApiKey" value="0123456789abcdef"/>', '<add key="ApiKey" value="[secret]"/>'),
        ("('x-api-key', '0123456789abcdef')", "('x-api-key', '[secret]')"),
        ('["--api-key", "0123456789abcdef"]', '["--api-key", "[secret]"]'),
        ("wget --password=s3cr3tpw1 https://h", "wget --password=[secret] https://h"),
        ("docker login -u me -p s3cr3tpw1 h", "docker login -u me -p [secret] h"),
        ("docker run -p 8080:80 image", "docker run -p 8080:80 image"),
        ("redis-cli -a s3cr3tpw1 ping", "redis-cli -a [secret] ping"),
        ("curl -b 'session=abcdef0123' https://h", "curl -b 'session=[secret]' https://h"),
        ("aws_session_token=" + "aB3" * 20, "aws_session_token=[secret]"),
        ('{"token": "' + "aB3" * 8 + '"}', '{"token": "[secret]"}'),
        ('{"auth": "dXNlcjpwYXNzd29yZDEy"}', '{"auth": "[secret]"}'),
        ("page_token: abc123def456ghi789jkl0", "page_token: abc123def456ghi789jkl0"),
        ('api_key = "' + "aBcDe" * 6 + '"', 'api_key = "[secret]"'),
        ("secret: internationalization", "secret: internationalization"),
        ("password: 8-16 letters and digits", "password: 8-16 letters and digits"),
        ("PWD=/home/me/work2", "PWD=/home/me/work2"),
        ("TOKEN=$GITHUB_TOKEN_2", "TOKEN=$GITHUB_TOKEN_2"),
        ("Ocp-Apim-Subscription-Key: " + "a1b2" * 8, "Ocp-Apim-Subscription-Key: [secret]"),
        ("https://h/c?sv=1&amp;sig=aB3%3D", "https://h/c?sv=1&amp;sig=[secret]"),
        ('"https://h/c?sv=1\\u0026sig=aB3"', '"https://h/c?sv=1\\u0026sig=[secret]"'),
        ("https%3A%2F%2Fh%3Ftoken%3DaB3aB3", "https%3A%2F%2Fh%3Ftoken%3D[secret]"),
        ("https://h/x?user=a&pass=aB3", "https://h/x?user=a&pass=[secret]"),
        ("Authorization:\tBearer\t" + "aB3" * 10, "Authorization:\tBearer\t[secret]"),
        ("Authorization required", "Authorization required"),
        ("with Bearer " + "aBcDe" * 8, "with Bearer [secret]"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=" + "a1b2" * 16,
         "Authorization: [secret] Credential=x, Signature=[secret]"),
        ('Authorization: Digest username="u", response="' + "a1b2" * 8 + '"',
         'Authorization: [secret]"'),
        ("---- BEGIN SSH2 PRIVATE KEY ----\nb3\n---- END SSH2 PRIVATE KEY ----", "[private key]"),
        ("Private-Lines: 14\nAAAA\nPrivate-MAC: 00", "[private key]: 00"),
        ("/bot1234567890:AAE" + "aB3" * 10 + "/send", "/[token]/send"),
        ("machine h login u password s3cr3t", "machine h login u password [secret]"),
        ("please login with password protected", "please login with password protected"),
        ("mysql -h db -u root -ps3cr3t app", "mysql -h db -u root -p[secret] app"),
        ("mysql --port=3306 -P 3306 app", "mysql --port=3306 -P 3306 app"),
        ("//registry/:_auth=dXNlcjpwYXNzd29yZDE=", "//registry/:_auth=[secret]"),
        ("client-key-data: LS0tLS1CRUdJTiBSU0E", "client-key-data: [secret]"),
        ("https://a.webhook.office.com/webhookb2/1234-5678@9/IncomingWebhook/abc",
         "https://a.webhook.office.com/webhookb2/[secret]"),
        ("sk-learn and ask-me", "sk-learn and ask-me"),
        ("http://host:8265/x and a@b.c", "http://host:8265/x and a@b.c"),
        ("[f(key=1)] keyboard?", "[f(key=1)] keyboard?"),
        (
            "max_tokens: 64, api_key_env: OPENAI_API_KEY_2",
            "max_tokens: 64, api_key_env: OPENAI_API_KEY_2",
        ),
        ("Basic understanding of bearers of tokens", "Basic understanding of bearers of tokens"),
        ("https://h:8265/path@x and git@host", "https://h:8265/path@x and git@host"),
        ("https://SECRETTOKENVALUE12345@host/x", "https://[token]@host/x"),
        ("postgres://u:pa/ss@h/db", "postgres://u:[password]@h/db"),
        ("https://u:p@ss@h/", "https://u:[password]@h/"),
        ("https://:pw@h", "https://:[password]@h"),
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic [secret]"),
        (
            '{"authorization": "Bearer abcdef0123456789abcdef"}',
            '{"authorization": "Bearer [secret]"}',
        ),
        ("curl -H 'x: bearer abcdef0123456789'", "curl -H 'x: bearer [secret]'"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bP", "aws_secret_access_key=[secret]"),
        (
            "s3://b/x?access_key=AAAA&secret_key=BB&z=1",
            "s3://b/x?access_key=[secret]&secret_key=[secret]&z=1",
        ),
        ("AccountName=a;AccountKey=abcdef0123456789==;", "AccountName=a;AccountKey=[secret];"),
        ('{"wandb_api_key": "0123456789abcdef0123"}', '{"wandb_api_key": "[secret]"}'),
        ("sk-ant-api03-abcdefghijklmnopqrstuvwxyz", "[token]"),
        ("glpat-abcdefghijklmnopqrst", "[token]"),
        ("npm_" + "a1" * 18, "[token]"),
        ("ya29.a0AfH6SMBxxxxxxxxxxxxxxx", "[token]"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEv\n-----END RSA PRIVATE KEY----- x",
            "[private key] x",
        ),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQ\n-----END PGP PRIVATE KEY BLOCK-----",
            "[private key]",
        ),
        ("AZURE_OPENAI_KEY='0123456789abcdef'", "AZURE_OPENAI_KEY='[secret]'"),
        ("Cookie: a=b; session=abcdef0123456789\nx", "Cookie: [secret]\nx"),
        ('{"Set-Cookie": "sid=abcdef0123456789; Path=/"}', '{"Set-Cookie": "[secret]"}'),
        ("cookies: 12 of them, at 180 degrees", "cookies: 12 of them, at 180 degrees"),
        (
            "https://hooks.slack.com/services/T0/B0/" + "X1" * 12,
            "https://hooks.slack.com/services/[secret]",
        ),
        ("curl -s -u me:pass https://h", "curl -s -u me:[secret] https://h"),
        ("docker run -u 1000:1000 x", "docker run -u 1000:1000 x"),
        ("sshpass -p hunter2 ssh h", "sshpass -p [secret] ssh h"),
        ("Server=h;Password=p4ssw0rd;", "Server=h;Password=[secret];"),
        ("npx server --token abc123def456 -v", "npx server --token [secret] -v"),
        ("s --client-secret 'abc123def456'", "s --client-secret '[secret]'"),
        (
            "--tokenizer me/Model-7B --max-tokens 40960000",
            "--tokenizer me/Model-7B --max-tokens 40960000",
        ),
        ("--token --verbose1 x", "--token --verbose1 x"),
        ("GITHUB_TOKEN=abc123def456 npx s", "GITHUB_TOKEN=[secret] npx s"),
        ("https:/u:hunter22@h has no file", "https:/u:[password]@h has no file"),
        ("dop_v1_" + "a1" * 32, "[token]"),
        ("glptt-" + "a1" * 20, "[token]"),
        ("ATATT3xFfGF0" + "aB1" * 30, "[token]"),
        ("12345678:AA" + "Hd1" * 11, "[token]"),
        ("MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ." + "Z1n" * 9, "[token]"),
        ("authorızation: abcdefgh12345", "authorızation: [secret]"),
        ("paſſword=abcd1234xyz", "paſſword=[secret]"),
    ],
)
def test_what_is_a_secret(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize("unit", [
    "-eyJ", "sk- ", "?aaaaaaaaa", "a://b:", "xoxb-", "&token", "x://u:p", "Bearer ", "api_key=",
    "authorization: ", "a-", "-----BEGIN PRIVATE KEY-----", "://", "password", "x://@", "Basic a",
    "Cookie: a=", "curl -u a:", "curl ", "sshpass -p ", "AA_KEY=", "12345678:AA", "M.",
    "password=1", "--token ", "--a-token 1", "A_TOKEN=", "A_", "a:/b:",
    "%3F", "?pass=", "-- BEGIN PRIVATE KEY --", "Private-Lines: 1 ", "docker login ", "redis-cli ",
    "authorization: digest ", "password>", "'token', '", "AAAAAAAAAAAAAA.", "aB", "eyJa.",
])  # fmt: skip
def test_any_text_is_searched_in_linear_time(unit: str) -> None:
    def seconds(count: int) -> float:
        started = time.process_time()
        redact(unit * (count // len(unit)) + "!")
        return time.process_time() - started

    assert seconds(400_000) < 12 * seconds(100_000) + 0.5


def test_the_key_that_the_config_names_is_a_secret(monkeypatch) -> None:
    monkeypatch.setenv("MY_VOICE", "hunter22")
    load_config(None, ["generate.teacher.key_env=MY_VOICE"])
    assert redact("key hunter22!") == "key [MY_VOICE]!"


def files_with(folder: Path, *needles: str) -> list[str]:
    return [
        f"{file}: {needle}"
        for file in folder.rglob("*")
        if file.is_file()
        for needle in needles
        if needle.encode() in file.read_bytes()
    ]


def test_a_run_folder_holds_no_secret(tmp_path) -> None:
    url = "https://me:hunter2hunter2@host/rows.jsonl?token=t0pt0pt0p"
    config = load_config(
        None, [f"runs_dir={tmp_path}", f"read.sources=[{{path: '{url}'}}]", "name=mine",
               f"generate.teacher.model={json.dumps(SECRET)}"]
    )  # fmt: skip
    step = Run.of(config).step("read", config.model_dump(mode="json"))
    step.begin()
    step.log(source=url, key=SECRET)
    step.finish(Counts(1, 0, failed=Counter({f"{url}: {SECRET}": 1})))
    parts = (SECRET, json.dumps(SECRET)[1:-1], "hunter2", "t0pt0p")
    assert len(list(tmp_path.rglob("*.json"))) == 3
    assert files_with(tmp_path, *parts) == []
    assert files_with(tmp_path, "[TEACHER_API_KEY]")


def test_an_error_shows_no_secret(tmp_path) -> None:
    source = "read.sources=[{path: 'nothing://me:hunter2hunter2@host/rows.jsonl'}]"
    done = CliRunner().invoke(app, ["read", f"runs_dir={tmp_path}", source])
    assert done.exit_code == 2
    assert "hunter2" not in done.output
    assert "me:[password]@host" in done.output


# --- names ---


@pytest.mark.parametrize("name", ["../out", "a/b", "/tmp/x", "..", ".hidden", "", "a\x00b", "é"])
def test_names_that_leave_the_run_folder_are_refused(name: str) -> None:
    arm = json.dumps({name: {"method": "sft"}})
    with pytest.raises(ConfigError, match="becomes a folder"):
        load_config(None, [f"train.arms={arm}"])
    with pytest.raises(ConfigError, match="name"):
        load_config(None, [f"name={json.dumps(name)}"])


def test_an_arm_keeps_the_name_of_its_unmarked_twin_free() -> None:
    with pytest.raises(ConfigError, match="not -unmarked at the end"):
        load_config(None, ["train.arms={nat-unmarked: {method: nat}}"])


NAMES = {
    "SOME_TOKEN": True, "SLACK_TOKENS": True, "AZURE_OPENAI_KEY": True, "X-Api-Key": True,
    "X-Auth": True, "AUTH_HEADER": True, "Cookie": True, "AWS_SECRET_ACCESS_KEY": True,
    "GIT_AUTHOR_NAME": False, "SSH_AUTH_SOCK": False, "OS_AUTH_URL": False, "KEYBOARD": False,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_variable_or_header_tells_a_secret(name) -> None:
    assert bool(SECRET_NAME.search(name)) is NAMES[name]


FIELDS = {
    "authorization": True, "apiKey": True, "access_key": True, "bearer_token": True,
    "page_token": False, "prompt_tokens": False, "sort_key": False, "author": False,
}  # fmt: skip


@pytest.mark.parametrize("name", FIELDS)
def test_the_name_of_a_field_tells_a_secret(name) -> None:
    shown = without_secret_fields({name: "a text"})[name]
    assert shown == ("[secret]" if FIELDS[name] else "a text")


# --- packed files ---

PACK = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}  # fmt: skip


@pytest.mark.parametrize("packing", PACK)
def test_a_packed_bomb_is_refused_before_it_fills_the_disk(packing, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("raytune_agents.readers.unpack.FREE_BYTES", 2**20)
    row = json.dumps({"messages": [{"role": "user", "content": "q" * 1000}]}).encode() + b"\n"
    bomb = tmp_path / f"rows.jsonl{packing}"
    bomb.write_bytes(PACK[packing](row * 20_000))
    found = readers.list_raw(SourceConfig(path=str(bomb)))
    with pytest.raises(SourceError, match=r"unpacks to more than 200 times its size"):
        assert sum(1 for _ in found) < 20_000


@pytest.mark.parametrize("packing", PACK)
def test_a_good_packed_file_is_read_whole(packing, tmp_path) -> None:
    path = tmp_path / f"rows.jsonl{packing}"
    rows = [{"messages": [{"role": "user", "content": f"q{i}"}]} for i in range(500)]
    path.write_bytes(PACK[packing](b"".join(json.dumps(r).encode() + b"\n" for r in rows)))
    assert [raw for _, raw in readers.list_raw(SourceConfig(path=str(path)))] == rows


def test_a_servers_auth_url_is_hidden(monkeypatch):
    """It may hold a password; a variable of that name alone is no secret."""
    monkeypatch.setattr("raytune_agents.redact._NAMED", set())
    monkeypatch.setattr("raytune_agents.redact._VALUES", {})
    monkeypatch.setenv("MY_PLACE", "https://me:hunter2@example.com")
    assert mcp_servers._filled("${MY_PLACE}", "OS_AUTH_URL") == "https://me:hunter2@example.com"
    assert without_known("at https://me:hunter2@example.com") == "at [OS_AUTH_URL]"
