"""Secrets: where they come from, that they stay the same, and that nothing shows them."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle  # noqa: TID251  only to see that it is refused
import stat
import subprocess
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyrage  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from reconciler.errors import Denied
from reconciler.secret import (
    BadReference,
    File,
    Generated,
    NoKey,
    NoSecret,
    Secrets,
    Variable,
    parse,
    permitted,
    secrets_of,
)
from reconciler.secret.age import IDENTITY
from reconciler.secret.generate import ALPHABET, LENGTH, TYPES, expand, extract, generate
from reconciler.secret.key import KEY, instance_key, key_path, make_key
from reconciler.secret.openssh import public_key
from reconciler.secret.reading import LIMIT
from reconciler.secret.recipients import check_recipient, encrypted

RAW = bytes(range(32))
REF = "Deployment/cms/jupyter"
CANARY = "c4n4ry-" + "9f2e"


def secrets(key: bytes = RAW) -> Secrets:
    return Secrets(lambda: key)


def value(reference: str) -> str:
    return secrets().value(reference)


def generated(sort: str, ref: str = REF, name: str = "token", generation: int = 1, key: bytes = RAW) -> str:
    return generate(key, Generated(sort, ref, name, generation))


def file(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "kept"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def ssh_text(key: Any) -> str:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())).decode()


def public_text(key: Any) -> str:
    return bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)).decode()


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The public key of the age identity that this process has."""
    key = pyrage.x25519.Identity.generate()
    path = tmp_path / "identity"
    path.write_text(f"# public key: {key.to_public()}\n{key}\n")
    path.chmod(0o600)
    monkeypatch.setenv(IDENTITY, str(path))
    return str(key.to_public())


def aged(text: str, *recipients: str, armored: bool = True) -> bytes:
    keys = [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    return bytes(pyrage.encrypt(text.encode(), keys, armored=armored))


# --- what is generated ---


def test_what_a_key_gives_stays_the_same_for_good() -> None:
    """Never change these: passwords of everything that runs would change with them."""
    assert generated("password") == "kYX2fj3SxiCCcgkYF9xEVDqZ"
    assert generated("uuid") == "1588dbf9-48ca-46b0-857e-4d27a93622b8"
    assert generated("hex") == "61aa4882368c05230eab6a6e1950ea27827037e589b89db4b13b75a33bf359ee"
    assert generated("munge").startswith("aafd35a1d3aba7668d452e47e10dea0e3808c3ca0e4ebc06d82cb0db79aeed20d1")
    assert len(bytes.fromhex(generated("munge"))) == 128
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICIvtkhbzE4J0GurHgi4fF59Dy6uSkELpGSoWIXOTRAo"
    assert public_key(generated("ssh-key")) == public
    assert generated("ssh-key").splitlines()[-2] == "Dy6uSkELpGSoWIXOTRAoAAAAAAECAwQF"
    assert set(TYPES) == {"password", "uuid", "hex", "munge", "ssh-key"}


@pytest.mark.parametrize("sort", TYPES)
def test_all_that_it_is_for_makes_another_secret(sort: str) -> None:
    others = {
        generated(sort),
        generated(sort, ref="Deployment/cms/other"),
        generated(sort, name="other"),
        generated(sort, generation=2),
        generated(sort, key=bytes(32)),
    }
    assert len(others) == 5
    assert generated(sort) == generated(sort)


def test_the_derivation_is_that_of_the_rfc() -> None:
    """RFC 5869, appendix A.1 and A.3; and what another implementation says."""
    prk = extract(bytes.fromhex("000102030405060708090a0b0c"), b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    wanted = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    assert b"".join(islice(expand(prk, bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")), 2)).hex()[:84] == wanted
    none = b"".join(islice(expand(extract(b"", b"\x0b" * 22), b""), 2)).hex()[:84]
    assert none.startswith("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d")
    info = f'["hex","{REF}","token",1]'.encode()
    assert generated("hex") == HKDF(SHA256(), 32, None, info).derive(RAW).hex()
    assert len(b"".join(expand(prk, b""))) == 255 * 32


def test_passwords_use_each_letter_alike_and_no_letter_that_looks_like_another() -> None:
    words = [generated("password", generation=number) for number in range(2000)]
    assert {len(word) for word in words} == {LENGTH}
    assert not {*"0O1lI"} & {*"".join(words)}
    assert all(any(map(test, word)) for word in words for test in (str.isupper, str.islower, str.isdigit))
    expected = 2000 * LENGTH / len(ALPHABET)
    counts = [sum(word.count(letter) for word in words) for letter in ALPHABET]
    assert min(counts) > expected * 0.8  # a modulo without the rejection: the first 28 would be 25 % above
    assert max(counts) < expected * 1.2


def test_a_uuid_is_one() -> None:
    made = uuid.UUID(generated("uuid"))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize("number", range(4))
def test_an_ssh_key_is_one_for_others_too(tmp_path: Path, number: int) -> None:
    text = generated("ssh-key", generation=number)
    key = load_ssh_private_key(text.encode(), password=None)
    assert public_text(key) == public_key(text)
    path = file(tmp_path, text)
    done = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:2] == public_key(text).split()
    assert public_key(ssh_text(key)) == public_key(text)


# --- the instance key ---


def test_a_key_that_was_made_is_used_and_never_replaced() -> None:
    path = key_path("lab")
    make_key(path)
    before = path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(instance_key("lab")) == 32
    assert base64.b64decode(before) == instance_key("lab")
    with pytest.raises(FileExistsError):
        make_key(path)
    assert path.read_bytes() == before


def test_two_keys_differ(tmp_path: Path) -> None:
    make_key(tmp_path / "one")
    make_key(tmp_path / "deep" / "two")
    assert (tmp_path / "one").read_text() != (tmp_path / "deep" / "two").read_text()


def test_the_environment_gives_the_key_or_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: str
) -> None:
    make_key(key_path("lab"))
    text = base64.b64encode(RAW).decode()
    monkeypatch.setenv(KEY, text + "\n")
    assert instance_key("lab") == RAW
    path = file(tmp_path, text + "\n")
    monkeypatch.setenv(KEY, f"file:{path}")
    assert instance_key("lab") == RAW
    path = file(tmp_path, aged(text, identity), mode=0o644)  # encrypted: anybody may read it
    monkeypatch.setenv(KEY, f"age:{path}")
    assert instance_key("lab") == RAW
    monkeypatch.setenv(KEY, "")
    assert instance_key("lab") != RAW


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_key_that_others_can_open_is_refused(monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    path = key_path("lab")
    make_key(path)
    path.chmod(mode)
    for said in ("", f"file:{path}"):
        monkeypatch.setenv(KEY, said)
        with pytest.raises(NoKey, match="other users can open") as caught:
            instance_key("lab")
        assert f"chmod 600 {path}" in caught.value.hint


def test_without_a_key_it_says_how_to_make_one() -> None:
    with pytest.raises(NoKey, match="there is no instance key") as caught:
        instance_key("lab")
    command = caught.value.hint.partition(": ")[2].rpartition("; else")[0]
    subprocess.run(["sh", "-c", command], check=True, timeout=20)
    assert len(instance_key("lab")) == 32


@pytest.mark.parametrize(
    "text", ["", "short", base64.b64encode(RAW[:31]).decode(), "?" * 60, "file:relative"]
)
def test_what_is_no_key_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(KEY, text)
    with pytest.raises(NoKey) as caught:
        instance_key("lab")
    assert isinstance(caught.value, Denied)
    assert caught.value.reason == "NoInstanceKey"


def test_a_key_is_asked_for_only_when_a_secret_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    opener = secrets_of("lab")
    assert opener.value("env:TOKEN") == CANARY
    with pytest.raises(NoKey):
        opener.value(f"generated:hex:{REF}#token:1")
    make_key(key_path("lab"))
    first = opener.value(f"generated:hex:{REF}#token:1")  # a failure is not remembered, the key is
    key_path("lab").unlink()
    assert opener.value(f"generated:hex:{REF}#token:2") != first


# --- references ---


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("env:TOKEN", Variable("TOKEN")),
        ("file:/run/secrets/token", File("/run/secrets/token", "", age=False)),
        ("file:/run/secrets/all#data base", File("/run/secrets/all", "data base", age=False)),
        ("age:/srv/all.age#db", File("/srv/all.age", "db", age=True)),
        (f"generated:ssh-key:{REF}#key:0", Generated("ssh-key", REF, "key", 0)),
        ("generated:hex:Deployment/a/b/front.1.server#k.x:12", None),
    ],
)
def test_a_reference_is_read_and_written_alike(text: str, named: object) -> None:
    assert str(parse(text)) == text
    assert named in (None, parse(text))


@pytest.mark.parametrize(
    "rest",
    [
        "{}", "env:", "env:a-{}", "env:1{}", "env:{}é", "file:", "file:{}", "file:../{}", "file:/a/../{}",
        "file://{}", "file:/a//{}", "file:/{}/", "file:/a/./{}", "file:/{}#", "file:/{}#a#b", "file:/a# {}",
        "age:{}", "age:~/{}", "generated:", "generated:{}:Kind/a/b#c:1", "generated:hex:{}#c:1",
        "generated:hex:Kind/a/{}#c", "generated:hex:Kind/a/{}#c:01", "generated:hex:Kind/a/{}#c:-1",
        "generated:hex:Kind/a/{}#:1", "generated:hex:Kind/a/{}#c:d:1", "generated:hex:Kind/a/{}:1",
        "generated:hex:Kind/a/{}#c:²", "ENV:{}", " env:{}", "vault:{}",
        "env:A\n{}", "file:/\x00{}", "file:/\x1b{}",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_and_not_shown(rest: str) -> None:
    with pytest.raises(BadReference) as caught:
        parse(rest.replace("{}", CANARY))
    assert caught.value.who == "author"
    unseen(caught.value)


@pytest.mark.parametrize("name", [KEY, IDENTITY])
def test_nobody_is_given_our_key(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, CANARY)
    with pytest.raises(BadReference, match="for us alone"):
        value(f"env:{name}")


def test_only_what_is_permitted_may_be_named() -> None:
    allowed = ["env:CMS_TOKEN", "file:/run/secrets/cms/*"]
    assert permitted(parse("env:CMS_TOKEN"), allowed)
    assert permitted(parse("file:/run/secrets/cms/db#password"), allowed)
    for text in (
        "env:CMS_TOKEN_2",
        "env:RECAS_TOKEN",
        "file:/run/secrets/atlas/db",
        "age:/run/secrets/cms/db",
    ):
        assert not permitted(parse(text), allowed)
    assert not permitted(parse(f"generated:hex:{REF}#a:1"), allowed)
    with pytest.raises(BadReference):
        parse("file:/run/secrets/cms/../atlas/db")


@pytest.mark.parametrize(
    ("held", "key", "wanted"),
    [
        (f"{CANARY}\n", "", CANARY),
        (f"{CANARY}\r\n", "", CANARY),
        (f" {CANARY} \n\n", "", f" {CANARY} \n"),
        ('{"a": "x", "b": "é\\n"}', "b", "é\n"),
        ('\n{"a.b c": "x"}', "a.b c", "x"),
        ("a=1\nb=2\n", "b", "2"),
        ("# b=1\n#b=3\nexport b = ' 2=3 '\r\nc=4", "b", " 2=3 "),
        ("b: https://host/?x=y\n", "b", "https://host/?x=y"),
        ("b=https://host: y\n", "b", "https://host: y"),
        ("b='\n", "b", "'"),
        ("b=1\nb=$a\n", "b", "$a"),
        ("b=one\u2028two\n", "b", "one\u2028two"),
    ],
)
def test_what_files_hold(tmp_path: Path, identity: str, held: str, key: str, wanted: str) -> None:
    path = file(tmp_path, held, mode=0o644)
    entry = f"#{key}" if key else ""
    assert value(f"file:{path}{entry}") == wanted
    for armored in (True, False):
        file(tmp_path, aged(held, identity, armored=armored))
        assert value(f"age:{path}{entry}") == wanted


def test_a_link_is_followed_as_mounted_secrets_are(tmp_path: Path) -> None:
    (tmp_path / "..data").symlink_to(file(tmp_path, CANARY).parent)
    (tmp_path / "token").symlink_to("..data/kept")
    assert value(f"file:{tmp_path}/token") == CANARY


def test_an_ssh_key_is_an_identity_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = generated("ssh-key")
    sealed = encrypted({"a": CANARY}, [public_key(text)])
    (tmp_path / "id").write_text(text)
    (tmp_path / "id").chmod(0o600)
    monkeypatch.setenv(IDENTITY, str(tmp_path / "id"))
    assert value(f"age:{file(tmp_path, sealed)}#a") == CANARY


# --- all that goes wrong, with something to hide ---


def unseen(error: BaseException) -> None:
    """The canary is in no text of the error, and no other error that could hold it hangs on it."""
    shown = [str(error), repr(error), getattr(error, "hint", ""), "".join(traceback.format_exception(error))]
    assert not [text for text in shown if CANARY in text]
    assert error.__context__ is None
    assert error.__cause__ is None


BAD_FILES: list[tuple[bytes, str]] = [
    (b"", ""),
    (b"\n", ""),
    (CANARY.encode() + b"\xff", ""),
    (CANARY.encode() + b"\0", ""),
    (CANARY.encode() * LIMIT, ""),
    (b'{"a": "' + CANARY.encode(), "a"),
    (b'{"a": "' + CANARY.encode() + b'"}', "b"),
    (b'{"a": ["' + CANARY.encode() + b'"]}', "a"),
    (b'{"a": "\\ud800' + CANARY.encode() + b'"}', "a"),
    (b'{"' + CANARY.encode() + b'":' + b"[" * 60000, "a"),
    (b"a=" + CANARY.encode(), "b"),
    (b"a=\nb=" + CANARY.encode(), "a"),
]


@pytest.mark.parametrize(("held", "key"), BAD_FILES, ids=range(len(BAD_FILES)))
@pytest.mark.parametrize("scheme", ["file", "age"])
def test_a_bad_file_is_one_line_that_names_the_reference(
    tmp_path: Path, identity: str, held: bytes, key: str, scheme: str
) -> None:
    recipient = pyrage.x25519.Recipient.from_str(identity)
    path = file(tmp_path, held if scheme == "file" else pyrage.encrypt(held, [recipient]))
    reference = f"{scheme}:{path}{'#' if key else ''}{key}"
    with pytest.raises(NoSecret) as caught:
        value(reference)
    assert reference in str(caught.value)
    assert "\n" not in str(caught.value)
    unseen(caught.value)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "nowhere"):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(NoSecret, match=r"not a regular file|can't be read"):
            value(f"file:{path}")
        assert len(os.listdir("/proc/self/fd")) == before


def test_the_environment_of_the_process_is_no_secret_file() -> None:
    with pytest.raises(NoSecret):
        value("file:/proc/self/environ")


def aged_for_another() -> bytes:
    return aged(CANARY, str(pyrage.x25519.Identity.generate().to_public()))


@pytest.mark.parametrize(
    "data", [aged_for_another(), CANARY.encode(), b"age-encryption.org/v1\n" + CANARY.encode()], ids=range(3)
)
def test_what_can_not_be_decrypted(tmp_path: Path, identity: str, data: bytes) -> None:
    path = file(tmp_path, data)
    with pytest.raises(NoSecret, match="can't decrypt it") as caught:
        value(f"age:{path}")
    unseen(caught.value)


def bad_identities() -> Iterator[tuple[str, int]]:
    yield f"AGE-SECRET-KEY-1{CANARY}\n", 0o600
    yield f"{pyrage.x25519.Identity.generate()}\nAGE-SECRET-KEY-1{CANARY}\n", 0o600
    yield f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n", 0o600
    yield CANARY, 0o600
    yield f"{pyrage.x25519.Identity.generate()}\n# {CANARY}", 0o640


@pytest.mark.parametrize(("text", "mode"), [*bad_identities()], ids=range(5))
def test_an_identity_that_can_not_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mode: int
) -> None:
    sealed = tmp_path / "sealed"
    sealed.write_bytes(aged_for_another())
    monkeypatch.setenv(IDENTITY, str(file(tmp_path, text, mode)))
    with pytest.raises(NoSecret, match=IDENTITY) as caught:
        value(f"age:{sealed}")
    unseen(caught.value)
    assert "can't decrypt" not in str(caught.value)
    monkeypatch.delenv(IDENTITY)
    with pytest.raises(NoSecret, match="no identity") as caught:
        value(f"age:{sealed}")
    assert IDENTITY in caught.value.hint


def test_a_key_with_a_passphrase_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = file(tmp_path, generated("ssh-key"))
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", CANARY, "-f", str(locked)]
    subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)
    sealed = tmp_path / "sealed"
    sealed.write_bytes(aged_for_another())
    monkeypatch.setenv(IDENTITY, str(locked))
    with pytest.raises(NoSecret, match="holds no identity"):
        value(f"age:{sealed}")
    with pytest.raises(NoSecret, match="without a passphrase"):
        public_key(locked.read_text())


def failing(opener: Secrets) -> Iterator[Callable[[], object]]:
    yield lambda: opener.value(CANARY)
    yield lambda: opener.tag(CANARY)
    yield lambda: opener.opened([{"a": {"$secret": CANARY}}])
    yield lambda: opener.opened({"$secret": [CANARY]})
    yield lambda: opener.tagged({"$secret": "env:HELD", CANARY: CANARY})
    yield lambda: opener.tagged({"$secret": CANARY, "tag": CANARY})
    yield lambda: public_key(CANARY)
    yield lambda: public_key(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n")
    yield lambda: encrypted({"a": CANARY}, [])
    yield lambda: encrypted({"a": CANARY}, [f"age1{CANARY}"])
    yield lambda: encrypted({"a": CANARY}, [f"AGE-SECRET-KEY-1{CANARY}"])
    yield lambda: pickle.dumps(opener)
    yield lambda: copy.deepcopy(opener)
    yield lambda: json.dumps(opener)
    yield lambda: instance_key("lab")


@pytest.mark.parametrize("number", range(15))
def test_no_failure_shows_a_secret(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setenv("HELD", CANARY)
    monkeypatch.setenv("BYTES", CANARY + "\udcff")
    monkeypatch.setenv(KEY, CANARY)
    opener = Secrets(CANARY.encode)
    assert opener.value("env:HELD") == CANARY
    with pytest.raises(NoSecret) as bad:
        opener.value("env:BYTES")
    unseen(bad.value)
    with pytest.raises((NoSecret, TypeError)) as caught:
        list(failing(opener))[number]()
    unseen(caught.value)
    for shown in (repr(opener), str(opener), f"{opener}", repr([opener]), repr(opener.value)):
        assert CANARY not in shown


# --- specs ---


def test_a_spec_is_opened_just_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    spec = {
        "plain": 1,
        "list": [{"$secret": "env:TOKEN", "tag": "00000000"}, ("x",)],
        "url": {"$join": ["https://me:", {"$secret": "env:TOKEN"}, "@host:", 80]},
        "late": {"$join": ["a", {"$after": "Kind/a/b#c"}]},
    }
    kept = copy.deepcopy(spec)
    assert secrets().opened(spec) == {
        "plain": 1,
        "list": [CANARY, ["x"]],
        "url": f"https://me:{CANARY}@host:80",
        "late": {"$join": ["a", {"$after": "Kind/a/b#c"}]},
    }
    assert spec == kept


def test_a_tag_changes_with_the_value_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    monkeypatch.setenv("SAME", CANARY)
    spec = {"a": [{"$secret": "env:TOKEN"}], "b": 2}
    tagged = secrets().tagged(spec)
    assert tagged == {"a": [{"$secret": "env:TOKEN", "tag": "ef22bf9f"}], "b": 2}
    assert secrets().tagged(tagged) == tagged
    assert secrets().tag("env:SAME") != secrets().tag("env:TOKEN")
    assert secrets(bytes(32)).tag("env:TOKEN") != secrets().tag("env:TOKEN")
    monkeypatch.setenv("TOKEN", CANARY + "2")
    assert secrets().tagged(tagged) != tagged


def test_a_secret_is_read_once_in_a_run_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", CANARY)
    opener, seen = secrets(), set()
    threads = [threading.Thread(target=lambda: seen.add(opener.value("env:TOKEN"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setenv("TOKEN", "other")
    assert seen == {opener.value("env:TOKEN")} == {CANARY}


# --- recipients ---


def test_each_recipient_and_nobody_else_can_read_the_outputs() -> None:
    age, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    modern, classic = generated("ssh-key"), rsa.generate_private_key(65537, 2048)
    outputs = {"token": CANARY, "ports": [1, 2]}
    recipients = [str(age.to_public()), public_key(modern) + " ada@example.org", public_text(classic)]
    assert [check_recipient(recipient) for recipient in recipients] == ["", "", ""]
    sealed = encrypted(outputs, recipients)
    assert sealed.startswith("-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert CANARY not in sealed
    for text in (modern, ssh_text(classic)):
        key = pyrage.ssh.Identity.from_buffer(text.encode())
        assert json.loads(pyrage.decrypt(sealed.encode(), [key])) == outputs
    assert json.loads(pyrage.decrypt(sealed.encode(), [age])) == outputs
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed.encode(), [other])


SMALL = public_text(rsa.generate_private_key(65537, 1024))  # noqa: S505  too small on purpose


@pytest.mark.parametrize(
    "text",
    [
        "", "age1", f"age1{CANARY}", "ssh-rsa", f"ssh-rsa {CANARY}", f"ssh-ed25519 {CANARY}", CANARY, "\0",
        f"AGE-SECRET-KEY-1{CANARY}", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICIvtkhbzE4J0GurHgi4fF59Dy6uSkELpGSoWIXOTRAo a\nb",
        public_text(ec.generate_private_key(ec.SECP256R1())), SMALL,
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_no_recipient(text: str) -> None:
    wrong = check_recipient(text)
    assert wrong
    assert CANARY not in wrong
    assert ("private key" in wrong) == ("SECRET" in text or "PRIVATE" in text)
    with pytest.raises(BadReference, match="recipient 1"):
        encrypted({}, [text])


# --- what it costs ---


def test_importing_it_loads_no_library() -> None:
    program = "import reconciler.secret, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"cryptography", "pyrage", "uuid", "rfc8785", "yaml"}
    assert "reconciler.secret.secrets" in loaded
