"""Mail: plain text over SMTP with TLS, whose certificate is checked."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import BinaryIO, Final, Literal

from fiducial.console.notify.channels import Outcome
from fiducial.console.notify.message import Message
from fiducial.core.clock import Clock, instant

TIMEOUT = 10.0
"""Seconds that the server may take for each answer."""
_ANSWERS: Final = 256 * 1024
"""Bytes of a connection's answers that are read; a server says a few hundred."""


class _Answers:
    """What a server says, up to `_ANSWERS`: before TLS anybody on the way may say it, without end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _ANSWERS

    def readline(self, limit: int) -> bytes:
        """The next line. Raises `OSError` when it was too much."""
        line = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the server does not stop answering")
        return line

    def close(self) -> None:
        """Let go of the connection's file."""
        self._file.close()


class _Server(smtplib.SMTP):
    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock.makefile("rb"))
        return super().getreply()


class _TlsServer(_Server, smtplib.SMTP_SSL):
    pass


class Mail:
    """Addresses that are told through one mail server."""

    kind = "smtp"

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        tls: Literal["starttls", "implicit", "none"],
        sender: str,
        to: Sequence[str],
        people: bool,
        username: str,
        password: str,
        clock: Clock,
    ) -> None:
        """`people`: those who are asked are told at their own addresses, besides `to`."""
        self.name = name
        self.people = people
        self._host, self._port, self._tls = host, port, tls
        self._sender, self._to = sender, tuple(to)
        self._username, self._password = username, password
        self._clock = clock

    def send(self, message: Message, to: Sequence[str] = ()) -> Outcome:
        """See `Channel.send`. As soon as one address took it, it counts as sent."""
        addresses = tuple(dict.fromkeys((*self._to, *to)))
        if not addresses:
            return Outcome("later", "nobody whom it is for has an e-mail address")
        letter = self._letter(message)
        try:
            with self._connected() as server:
                server.ehlo_or_helo_if_needed()
                # Of an address that this server cannot be told, the others must not suffer (RFC 6531 section 3.2).
                told = [each for each in addresses if each.isascii() or server.has_extn("smtputf8")]
                if not told:
                    return Outcome("failed", "it takes no address with other letters than those of ASCII")
                refused = len(server.send_message(letter, self._sender, told)) + len(addresses) - len(told)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            return _answered(min(codes), "every address was refused")
        except smtplib.SMTPResponseException as error:
            return _answered(error.smtp_code)
        except smtplib.SMTPNotSupportedError:
            return Outcome("failed", "it does not offer what is needed to send safely")
        except (smtplib.SMTPException, OSError) as error:
            return Outcome("later", f"it cannot be reached ({type(error).__name__})")
        if refused:
            return Outcome("sent", f"{refused} of {len(addresses)} addresses were refused")
        return Outcome("sent", "it took the message")

    def close(self) -> None:
        """See `Channel.close`."""

    def _connected(self) -> _Server:
        # The name it greets with: looking up this machine's own can take long, and is nobody's business.
        own, context = Address(addr_spec=self._sender).domain, ssl.create_default_context()
        if self._tls == "implicit":
            server: _Server = _TlsServer(self._host, self._port, local_hostname=own, timeout=TIMEOUT, context=context)
        else:
            server = _Server(self._host, self._port, local_hostname=own, timeout=TIMEOUT)
        try:
            if self._tls == "starttls":
                server.starttls(context=context)
            if self._username:
                server.login(self._username, self._password)
        except BaseException:
            server.close()
            raise
        return server

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage(policy=SMTP)
        letter["From"] = Address("Fiducial", addr_spec=self._sender)
        # Nobody learns from it who else was told.
        letter["To"] = ", ".join(self._to) or "undisclosed-recipients:;"
        letter["Subject"] = message.title
        letter["Date"] = format_datetime(instant(self._clock.unix_us()).astimezone(UTC))
        # The same at every attempt, so that a second copy is recognized as one.
        letter["Message-ID"] = f"<{message.id}.{self.name}@{Address(addr_spec=self._sender).domain}>"
        letter["Auto-Submitted"] = "auto-generated"
        parts = ["\n".join(message.lines)]
        if message.details:
            parts.append("\n".join(f"{name}: {value}" for name, value in message.details))
        parts += [
            f"{message.link_words}:\n{message.link}",
            "The link opens one page and decides nothing; sign in first.",
        ]
        letter.set_content("\n\n".join(parts) + "\n", cte="quoted-printable")
        return letter


def _answered(code: int, said: str = "") -> Outcome:
    """RFC 5321 section 4.2.1: 4yz may go through later, 5yz would not."""
    said = f"{said or 'it answered'} {code}"
    return Outcome("failed" if 500 <= code < 600 else "later", said)


__all__ = ["TIMEOUT", "Mail"]
