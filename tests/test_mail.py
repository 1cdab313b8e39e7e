"""Mail: what goes over the wire, what is refused for good, and what waits."""

from __future__ import annotations

import asyncio
import io
import os
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.errors import AuthflowError, ConfigurationError
from authflow.mail import (
    ConsoleTransport,
    FileTransport,
    Mail,
    MailRefused,
    MailUnavailable,
    SmtpTransport,
    build,
    transport_from_url,
)
from tests.parts.smtp_sink import SmtpSink

SENDER = "Bücherei, Köln <noreply@example.org>"
LINK = "https://example.org/recover?token=" + "t0ken" * 20
PASSWORD = "p@ss/wörd:%?#"


def a_mail(
    to: str = "ann@example.org",
    subject: str = "Grüße – 日本語",
    text: str = f"Schöne Grüße\n.\nFrom here:\n{LINK}\n",
    html: str | None = f'<p>Schöne Grüße</p>\n<a href="{LINK}">日本語</a>\n',
    message_id: str = "<0123abcd@example.org>",
) -> Mail:
    return Mail(to=to, subject=subject, text=text, html=html, message_id=message_id)


def parsed(message: EmailMessage) -> EmailMessage:
    return message_from_bytes(message.as_bytes(), policy=policy.default)


def content_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.fixture(scope="module")
def sink() -> Iterator[SmtpSink]:
    with SmtpSink(login=("ann@example.org", PASSWORD)) as sink:
        yield sink


# --- The message ------------------------------------------------------------------------------------------------------


def test_a_mail_shows_neither_text_nor_html() -> None:
    shown = f"{a_mail()!r} {a_mail()}"

    assert "t0ken" not in shown
    assert "ann@example.org" in shown


def test_the_message_has_the_headers_of_an_automatic_mail() -> None:
    message = parsed(build(a_mail(), SENDER, now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))

    assert message["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    assert message["Message-ID"] == "<0123abcd@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] == "Grüße – 日本語"
    assert message["To"] == "ann@example.org"
    assert message["From"].addresses[0].display_name == "Bücherei, Köln"
    assert message["From"].addresses[0].addr_spec == "noreply@example.org"


def test_text_and_html_are_alternatives() -> None:
    message = parsed(build(a_mail(), SENDER))

    assert message.get_content_type() == "multipart/alternative"
    assert content_of(message, "plain") == a_mail().text
    assert content_of(message, "html") == a_mail().html


def test_a_mail_without_html_is_plain_text() -> None:
    message = parsed(build(a_mail(html=None), SENDER))

    assert message.get_content_type() == "text/plain"
    assert content_of(message, "plain") == a_mail().text


def test_a_link_in_ascii_text_is_not_wrapped() -> None:
    raw = build(a_mail(text=f"Open\n{LINK}\n", html=None), SENDER).as_bytes()

    assert f"\r\n{LINK}\r\n".encode() in raw


def test_the_wire_has_seven_bits_and_lines_of_legal_length() -> None:
    raw = build(a_mail(text="x" * 5000 + "\0ü", subject="ü" * 900), SENDER).as_bytes()

    assert raw.isascii()
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=200))
def test_a_subject_can_add_no_header(subject: str) -> None:
    raw = build(a_mail(subject=subject, text="x", html=None), SENDER).as_bytes()

    names = [line.partition(b":")[0] for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] not in b" \t"]
    assert sorted(names) == sorted(
        b"Date Message-ID Auto-Submitted From To Subject Content-Type MIME-Version Content-Transfer-Encoding".split()
    )


def test_what_looks_like_an_encoded_word_in_the_subject_stays_text() -> None:
    message = parsed(build(a_mail(subject="Hello =?utf-8?q?a=0D=0ABcc:_eve=40example.org?="), SENDER))

    assert message["Subject"] == "Hello = ?utf-8?q?a=0D=0ABcc:_eve=40example.org?="
    assert message["Bcc"] is None


@pytest.mark.parametrize(
    "bad", ["\r\nBcc: eve@example.org", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", "\u2029", "\ud800"]
)
def test_a_subject_with_a_line_end_or_control_character_is_refused(bad: str) -> None:
    with pytest.raises(MailRefused):
        build(a_mail(subject=f"Hello{bad}there"), SENDER)


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ann",
        "ann@",
        "@example.org",
        "ann@host",
        "ann@example.org,eve@example.org",
        "ann@example.org;eve@example.org",
        "ann@example.org eve@example.org",
        "ann@example.org\r\nBcc: eve@example.org",
        "ann@example.org\nBcc: eve@example.org",
        "ann@example.org\r",
        "ann@example.org\0",
        "ann\x85@example.org",
        "ann\u2028@example.org",
        "ann\u2029Bcc:eve@example.org",
        " ann@example.org",
        "ann@example.org ",
        "Ann <ann@example.org>",
        "<ann@example.org>",
        "<ann@example.org> <eve@example.org>",
        "ann@example.org>,<eve@example.org",
        '"eve@example.org,"@example.org',
        '"ann"@example.org',
        "ann@example.org(eve@example.org)",
        "friends:ann@example.org;",
        "@relay.example:ann@example.org",
        "eve@example.org@example.org",
        "=?utf-8?q?eve=40example.org=0D=0A?=@example.org",
        "=?utf-8?b?ZXZlQGV4YW1wbGUub3Jn?=@example.org",
        "ann@=?utf-8?q?example.org?=",
        "ann@[127.0.0.1]",
        "ann\ud800@example.org",
        "ann＠example.org",
        "ann@ex\u3002ample.org",
    ],
)
def test_a_recipient_that_is_not_exactly_one_address_is_refused(to: str) -> None:
    with pytest.raises(MailRefused) as caught:
        build(a_mail(to=to), SENDER)

    assert caught.value.code == "mail_refused"


@pytest.mark.parametrize(
    "message_id",
    ["", "id", "<id>", "id@example.org", "<a b@c>", "<a@b>\r\nBcc: eve@example.org", "<a@b>\n", "<=?utf-8?q?a?=@b>"],
)
def test_a_message_id_of_another_shape_is_refused(message_id: str) -> None:
    with pytest.raises(MailRefused):
        build(a_mail(message_id=message_id), SENDER)


def test_a_text_with_lone_surrogates_is_refused_without_showing_it() -> None:
    with pytest.raises(MailRefused) as caught:
        build(a_mail(text=f"{LINK}\ud800"), SENDER)

    assert "t0ken" not in "".join(traceback.format_exception(caught.value))


@given(st.text(st.sampled_from('ab.@<>,;:"()[]\\ =?%!`-_+\r\n\0\u2028ü＠\u212a\u0307'), max_size=12))
def test_a_message_has_one_recipient_who_is_the_one_given_or_is_refused(local: str) -> None:
    to = f"{local}@example.org"
    try:
        message = build(a_mail(to=to), "noreply@example.org")
    except MailRefused:
        return

    assert [address.addr_spec for address in message["To"].addresses] == [to]
    assert f"\r\nTo: {to}\r\n".encode() in message.as_bytes()


def test_a_domain_beyond_ascii_goes_out_as_a_labels() -> None:
    message = build(a_mail(to="ann@bücher.example"), SENDER)

    assert message["To"] == "ann@xn--bcher-kva.example"
    assert message.as_bytes().isascii()


def test_a_local_part_beyond_ascii_goes_out_as_utf8() -> None:
    message = build(a_mail(to="jürgen@bücher.example"), SENDER)

    assert "To: jürgen@xn--bcher-kva.example\r\n".encode() in message.as_bytes()


# --- The setting ------------------------------------------------------------------------------------------------------


def test_the_setting_names_the_transport(tmp_path: Path) -> None:
    assert isinstance(transport_from_url("console:", sender=SENDER), ConsoleTransport)
    assert isinstance(transport_from_url(f"file:{tmp_path}", sender=SENDER), FileTransport)
    assert isinstance(transport_from_url(f"file://{tmp_path}", sender=SENDER), FileTransport)
    assert isinstance(transport_from_url("smtp://u:p@mail.example.org", sender=SENDER), SmtpTransport)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("smtp://mail.example.org", "SmtpTransport(smtp://mail.example.org:587)"),
        ("SMTPS://u:p@Mail.example.org/", "SmtpTransport(smtps://mail.example.org:465)"),
        ("smtp://u:hunter2@127.0.0.1:2525", "SmtpTransport(smtp://127.0.0.1:2525)"),
    ],
)
def test_an_smtp_setting_is_shown_without_its_login(url: str, shown: str) -> None:
    assert repr(transport_from_url(url, sender=SENDER)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "console:hunter2",
        "console://hunter2",
        "file:",
        "file://hunter2/x",
        "file:hunter2\0",
        "http://u:hunter2@mail.example.org",
        "hunter2:x@mail.example.org",
        "smtp:",
        "smtp:hunter2",
        "smtp://",
        "smtp://u:hunter2@",
        "smtp://u:hunter2@:25",
        "smtp://hunter2@mail.example.org",
        "smtp://u:@mail.example.org?hunter2",
        "smtp://:hunter2@mail.example.org",
        "smtp://@mail.example.org?hunter2",
        "smtp://u:hunter2/x@mail.example.org",
        "smtp://u:hunter2#x@mail.example.org",
        "smtp://u:hunter2?x@mail.example.org",
        "smtp://u:hunter2[x@mail.example.org",
        "smtp://u:hunter2℀@mail.example.org",
        "smtp://u:hunter2@mail.example.org:0",
        "smtp://u:hunter2@mail.example.org:65536",
        "smtp://u:hunter2@mail.example.org:x",
        "smtp://u:hunter2@mail.exämple.org",
        "smtp://u:hunter2@mail..example.org",
        f"smtp://u:hunter2@{'a' * 64}.example.org",
        "smtp://u:hunter2@mail.example.org/path",
        "smtp://u:hunter2@mail.example.org#x",
        "smtp://u:hunter2@mail.example.org?starttls=off",
        "smtp://u:hunter2@mail.example.org?cafile=a&cafile=b",
        "smtp://u:hunter2@mail.example.org?cafile",
        "smtp://u:hunter2@mail.example.org?cafile=/no/such/file",
        f"smtp://u:hunter2@mail.example.org?cafile={__file__}",
        "smtp://u:hunter2\n@mail.example.org",
        "smtp://u:hunter2%00@mail.example.org",
        "smtp://u:hunter2%0d%0a@mail.example.org",
        "smtp://u:hunter2%ff@mail.example.org",
        " smtp://u:hunter2@mail.example.org",
    ],
)
def test_a_bad_setting_is_refused_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        transport_from_url(url, sender=SENDER)

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "sender",
    [
        "",
        "noreply",
        "a@b,c@d",
        "A <a@b> <c@d>",
        "A\r\nBcc: <eve@example.org>",
        "=?utf-8?q?x?= <a@b>",
        "A <a@b\n>",
        "A <>",
    ],
)
def test_a_bad_sender_is_refused_at_start(sender: str) -> None:
    with pytest.raises(ConfigurationError):
        transport_from_url("console:", sender=sender)


@pytest.mark.parametrize("sender", ["a@localhost", "<a@example.org>", '"A, B" <a@example.org>'])
def test_a_good_sender_is_taken(sender: str) -> None:
    transport_from_url("console:", sender=sender)

    assert build(a_mail(), sender)["From"].addresses[0].addr_spec == sender.rpartition("<")[2].rstrip(">")


def test_importing_the_module_imports_no_mail_library() -> None:
    program = (
        "import sys; import authflow.mail as m; m.transport_from_url('console:', sender='a@localhost');"
        "sys.exit(bool({'aiosmtplib', 'email', 'email_validator', 'ssl'} & (set(sys.modules) - before)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", "import sys, asyncio; before = set(sys.modules);" + program], check=False
    )

    assert done.returncode == 0


# --- Console and folder -----------------------------------------------------------------------------------------------


async def test_the_console_shows_the_whole_mail_readably() -> None:
    stream = io.StringIO()

    await ConsoleTransport(SENDER, stream).send(a_mail())

    shown = stream.getvalue()
    assert f"\n{LINK}\n" in shown
    assert f'<a href="{LINK}">日本語</a>' in shown
    assert "Subject: Grüße – 日本語\n" in shown
    assert "To: ann@example.org\n" in shown


async def test_the_console_is_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    await ConsoleTransport(SENDER).send(a_mail())

    captured = capsys.readouterr()
    assert LINK in captured.err
    assert captured.out == ""


async def test_the_console_takes_no_escape_sequences() -> None:
    stream = io.StringIO()

    await ConsoleTransport(SENDER, stream).send(a_mail(text="\x1b]0;title\x07\x9b2J\rover", html="\x1b[31m"))

    assert not set("\x1b\x07\x9b\r") & set(stream.getvalue())


async def test_the_console_refuses_what_smtp_would() -> None:
    with pytest.raises(MailRefused):
        await ConsoleTransport(SENDER, io.StringIO()).send(a_mail(to="ann@example.org, eve@example.org"))


async def test_each_sending_is_one_private_file_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "box"
    transport = FileTransport(folder, SENDER)

    for number in range(5):
        await transport.send(a_mail(subject=f"mail {number}"))

    files = sorted(folder.iterdir())
    subjects = [message_from_bytes(file.read_bytes(), policy=policy.default)["Subject"] for file in files]
    assert subjects == [f"mail {number}" for number in range(5)]
    assert {file.suffix for file in files} == {".eml"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_sendings_at_once_lose_no_file(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path, SENDER)

    await asyncio.gather(*(transport.send(a_mail()) for _ in range(20)))

    names = os.listdir(tmp_path)
    assert len(names) == 20
    assert all(name.endswith(".eml") for name in names)


def test_a_folder_that_is_a_file_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError):
        transport_from_url(f"file:{tmp_path / 'file'}", sender=SENDER)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    transport = FileTransport(tmp_path / "later" / "box", SENDER)
    (tmp_path / "later").touch()

    with pytest.raises(MailUnavailable):
        await transport.send(a_mail())


# --- SMTP -------------------------------------------------------------------------------------------------------------


async def test_a_mail_arrives_over_starttls_with_a_login(sink: SmtpSink) -> None:
    sink.deliveries.clear()

    await transport_from_url(sink.url, sender=SENDER).send(a_mail(to="ann@bücher.example"))

    (delivery,), (message,) = sink.deliveries, sink.messages
    assert (delivery.sender, delivery.recipients) == ("noreply@example.org", ("ann@xn--bcher-kva.example",))
    assert message["Subject"] == "Grüße – 日本語"
    assert message["Message-ID"] == "<0123abcd@example.org>"
    assert content_of(message, "plain") == a_mail().text
    assert content_of(message, "html") == a_mail().html


async def test_one_transport_sends_many_mails_at_once(sink: SmtpSink) -> None:
    sink.deliveries.clear()
    transport = transport_from_url(sink.url, sender=SENDER)

    await asyncio.gather(*(transport.send(a_mail(to=f"ann{number}@example.org")) for number in range(5)))

    assert sorted(delivery.recipients[0] for delivery in sink.deliveries) == [f"ann{n}@example.org" for n in range(5)]


async def test_a_mail_arrives_over_implicit_tls() -> None:
    with SmtpSink(implicit_tls=True, login=("u", "p")) as sink:
        await transport_from_url(sink.url, sender=SENDER).send(a_mail())

    assert len(sink.deliveries) == 1


async def test_a_local_part_beyond_ascii_arrives_where_smtputf8_is_spoken(sink: SmtpSink) -> None:
    sink.deliveries.clear()

    await transport_from_url(sink.url, sender=SENDER).send(a_mail(to="jürgen@example.org"))

    assert sink.deliveries[0].recipients == ("jürgen@example.org",)
    assert "To: jürgen@example.org\r\n".encode() in sink.deliveries[0].content


async def test_a_local_part_beyond_ascii_is_refused_where_smtputf8_is_not_spoken() -> None:
    with SmtpSink(smtputf8=False) as sink:
        transport = transport_from_url(sink.url, sender=SENDER)

        with pytest.raises(MailRefused):
            await transport.send(a_mail(to="jürgen@example.org"))
        await transport.send(a_mail())

    assert len(sink.deliveries) == 1


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_an_untrusted_certificate_is_not_spoken_to(scheme: str) -> None:
    with SmtpSink(implicit_tls=scheme == "smtps", login=("u", "p")) as sink:
        transport = transport_from_url(sink.url.partition("?")[0], sender=SENDER)

        with pytest.raises(MailUnavailable, match="certificate refused"):
            await transport.send(a_mail())

    assert not sink.deliveries
    assert not sink.logins


async def test_a_certificate_of_another_name_is_not_spoken_to(sink: SmtpSink) -> None:
    sink.deliveries.clear()
    # All of 127.0.0.0/8 is loopback; the certificate is for 127.0.0.1.
    with SmtpSink(host="127.0.0.2") as other, pytest.raises(MailUnavailable, match="certificate refused"):
        await transport_from_url(other.url, sender=SENDER).send(a_mail())

    assert not other.deliveries


async def test_a_server_without_starttls_gets_neither_password_nor_mail() -> None:
    with SmtpSink(starttls=False, login=("u", "p")) as sink, pytest.raises(MailUnavailable, match="no STARTTLS"):
        await transport_from_url(sink.url, sender=SENDER).send(a_mail())

    assert not sink.deliveries
    assert not sink.logins


async def test_a_wrong_password_waits_and_is_not_shown(sink: SmtpSink) -> None:
    sink.deliveries.clear()
    transport = transport_from_url(sink.url.replace("ann%40", "hunter2%40"), sender=SENDER)

    with pytest.raises(MailUnavailable, match="535") as caught:
        await transport.send(a_mail())

    shown = (
        "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.detail + repr(transport)
    )
    assert PASSWORD not in shown
    assert "p%40ss" not in shown
    assert "hunter2" not in shown
    assert not sink.deliveries


async def test_a_login_that_the_server_wants_and_the_setting_lacks_waits(sink: SmtpSink) -> None:
    url = f"smtp://{sink.host}:{sink.port}?cafile={sink.cafile}"

    with pytest.raises(MailUnavailable, match="530"):
        await transport_from_url(url, sender=SENDER).send(a_mail())


@pytest.mark.parametrize(
    ("where", "reply", "error", "code"),
    [
        ("RCPT", f"550 5.1.1 no such user {LINK}", MailRefused, "mail_refused"),
        ("RCPT", "450 4.2.1 greylisted", MailUnavailable, "mail_unavailable"),
        ("RCPT", "421 4.3.2 shutting down", MailUnavailable, "mail_unavailable"),
        ("DATA", f"554 5.7.1 bad link {LINK}", MailRefused, "mail_refused"),
        ("DATA", "452 4.3.1 disk full", MailUnavailable, "mail_unavailable"),
        ("DATA", "nonsense", MailUnavailable, "mail_unavailable"),
    ],
)
async def test_a_reply_means_never_or_later(where: str, reply: str, error: type[AuthflowError], code: str) -> None:
    with SmtpSink(rcpt_reply=reply if where == "RCPT" else None, data_reply=reply if where == "DATA" else None) as sink:
        transport = transport_from_url(sink.url, sender=SENDER)

        with pytest.raises(error) as caught:
            await transport.send(a_mail())

    assert caught.value.code == code
    assert "t0ken" not in "".join(traceback.format_exception(caught.value))
    assert not sink.deliveries


@pytest.mark.parametrize("hang_at", ["EHLO", "RCPT", "DATA"])
async def test_a_server_that_hangs_is_given_up_at_the_deadline(hang_at: str) -> None:
    with SmtpSink(hang_at=hang_at) as sink:
        transport = SmtpTransport(sink.host, sink.port, SENDER, cafile=sink.cafile, deadline=0.3)

        with pytest.raises(MailUnavailable, match="in time"):
            await transport.send(a_mail())


async def test_a_mail_that_was_accepted_is_sent_even_if_parting_hangs() -> None:
    with SmtpSink(hang_at="QUIT") as sink:
        await transport_from_url(sink.url, sender=SENDER).send(a_mail())

    assert len(sink.deliveries) == 1


async def test_a_server_that_is_down_is_unavailable() -> None:
    with SmtpSink() as sink:
        transport = SmtpTransport(sink.host, sink.port, SENDER, cafile=sink.cafile)

    with pytest.raises(MailUnavailable) as caught:
        await transport.send(a_mail())

    assert caught.value.code == "mail_unavailable"
    assert caught.value.status == 503
