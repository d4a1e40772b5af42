"""E-mail: a message with plain text, over SMTP with TLS that is verified."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import smtplib
import ssl
import threading
from email.message import EmailMessage
from pathlib import Path

from taut.dialects.alerts_config import SmtpConfig
from taut.model.times import rfc3339
from taut.notify.delivery import UndeliveredError
from taut.notify.messages import Message

_SECONDS = 30.0
_TEMPORARY = range(400, 500)


def mail(message: Message, smtp: SmtpConfig, to: tuple[str, ...]) -> EmailMessage:
    """The message. Its Message-ID is the message's name: a repeat is the same mail."""
    domain = smtp.sender.rpartition("@")[2].rstrip(">") or "taut"
    made = EmailMessage()
    made["Subject"] = message.title
    made["From"] = smtp.sender
    made["To"] = ", ".join(to)
    made["Date"] = email.utils.formatdate(message.at)
    made["Message-ID"] = f"<{message.name}@{domain}>"
    # Mailers thread by it: what belongs to one alert stands together, its end too.
    made["References"] = f"<{message.notices[0].key}@{domain}>"
    made["X-Taut-Id"] = message.name
    made["Auto-Submitted"] = "auto-generated"
    made["Precedence"] = "bulk"
    made.set_content(_body(message))
    return made


def _body(message: Message) -> str:
    foot = [f"Rule: {message.rule}", f"Message: {message.name}, {rfc3339(message.at)}"]
    if message.link:
        foot.append(message.link)
    return message.text + "\n\n-- \n" + "\n".join(foot) + "\n"


async def send(message: Message, smtp: SmtpConfig, to: tuple[str, ...]) -> None:
    """Send the mail. Raises UndeliveredError. The thread that talks to the server keeps taut from ending no longer than anything else."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if not ended.done():
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

    def work() -> None:
        error: Exception | None = None
        try:
            deliver(message, smtp, to)
        except Exception as found:  # noqa: BLE001 (it is raised where somebody waits)
            error = found
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more, and the mail is sent again
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=work, name="taut-mail", daemon=True).start()
    await ended


def deliver(message: Message, smtp: SmtpConfig, to: tuple[str, ...]) -> None:
    """Send the mail; blocks. Raises UndeliveredError; what the server refuses for good (5xx) is final."""
    address = f"{smtp.host}:{smtp.port}"
    try:
        context = ssl.create_default_context(cafile=smtp.ca_file)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as in `clients.http.tls_context`
        # Not as a context: its end says goodbye and waits for an answer, also on a connection that is broken.
        with contextlib.closing(_opened(smtp, context)) as server:
            if smtp.tls == "starttls":
                server.starttls(context=context)
            if smtp.username:
                _sign_in(server, smtp, address)
            refused = server.send_message(mail(message, smtp, to))
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise UndeliveredError(
            f"{address} takes mail for none of {', '.join(error.recipients)} ({codes[0]})",
            final=all(code not in _TEMPORARY for code in codes),
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise UndeliveredError(f"{address}: {error}") from None
    except smtplib.SMTPResponseException as error:
        said = (
            error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
        )
        final = error.smtp_code not in _TEMPORARY and isinstance(
            error, smtplib.SMTPDataError | smtplib.SMTPSenderRefused
        )
        raise UndeliveredError(
            f"{address} answers {error.smtp_code}: {' '.join(said.split())[:200]}", final=final
        ) from None
    except ssl.SSLCertVerificationError as error:
        raise UndeliveredError(f"{address}: the certificate is not trusted: {error.verify_message}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise UndeliveredError(
            f"{address} cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}"
        ) from None
    if refused:
        # The others have it: sending it to all again would be a flood. Who was left out is told in the log.
        raise UndeliveredError(f"{address} takes no mail for {', '.join(refused)}; the others have it", final=True)


def _sign_in(server: smtplib.SMTP, smtp: SmtpConfig, address: str) -> None:
    try:
        server.login(smtp.username, _password(smtp))
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPServerDisconnected):
        # Some end the connection after a wrong password: the library would try another way to say it.
        raise UndeliveredError(f"{address} does not accept user and password") from None


def _opened(smtp: SmtpConfig, context: ssl.SSLContext) -> smtplib.SMTP:
    if smtp.tls == "tls":
        return smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=_SECONDS, context=context)
    return smtplib.SMTP(smtp.host, smtp.port, timeout=_SECONDS)


def _password(smtp: SmtpConfig) -> str:
    try:
        return Path(smtp.password_file or "").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise UndeliveredError("the mail server's password cannot be read; alerts.smtp.passwordFile names it") from None
