"""TLS of taut's own, by files that are read anew when they change."""

from __future__ import annotations

import asyncio
import logging
import ssl

from taut.clients.credentials import stamp
from taut.dialects.access_config import TlsConfig
from taut.model.errors import BadInput, Where

log = logging.getLogger("taut.access")
_LOOK = 60.0


class Certificate:
    """The certificate of the configuration, in a context that servers use; `keep` puts newer ones into it."""

    def __init__(self, config: TlsConfig) -> None:
        """Raises BadInput when the files cannot be used."""
        self._config = config
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._stamps = self._now()
        self._load()

    async def keep(self) -> None:
        """Look at the files for as long as this runs. What cannot be read changes nothing, and is told in the log."""
        while True:
            await asyncio.sleep(_LOOK)
            stamps = self._now()
            if stamps == self._stamps:
                continue
            self._stamps = stamps
            try:
                self._load()
            except BadInput as error:
                log.error("%s; the certificate from before is used", error)

    def _now(self) -> tuple[object, object]:
        return stamp(self._config.certificate_file), stamp(self._config.key_file)

    def _load(self) -> None:
        try:
            # A pair that does not fit would leave the context with half of it: it is tried in another one first.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self._config.certificate_file, self._config.key_file, password=_none
            )
            self.context.load_cert_chain(self._config.certificate_file, self._config.key_file, password=_none)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
            raise BadInput(
                f"the certificate cannot be used: {reason}",
                where=Where(file=self._config.certificate_file),
                advice="certificateFile and keyFile are PEM files that fit each other; the key without a passphrase",
            ) from None


def _none() -> str:
    """Without this, OpenSSL would ask for a passphrase on the terminal."""
    raise ValueError("the key has a passphrase")
