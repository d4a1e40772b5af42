"""Getting the data key of a file: private keys and services, by the kinds of recipients."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taut.secrets.sops.allowed import Allowed
from taut.secrets.sops.clouds import CloudError, Clouds
from taut.secrets.sops.errors import NoKeyError, SopsError
from taut.secrets.sops.metadata import Metadata, Recipient
from taut.secrets.sops.shamir import combine

_KEY_BYTES = 32
_STEP = re.compile(r"^(?!\.{1,2}$)[A-Za-z0-9_.-]+$")
_SECONDS = 20
_PATIENCE = 30
"""Seconds for one file: a stranger may list any number of recipients, and each may be a service that does not answer."""


class CannotUnwrapError(Exception):
    """This recipient's key is not here, or does not fit; the text says why."""


@dataclass(frozen=True)
class Keyring:
    """Where private keys come from. `age` and `pgp` are key texts and armoured or binary keys; `vault_addresses` are servers that taut's
    token may be sent to: the address in a file is a stranger's word.
    """

    age: Sequence[str] = field(default=(), repr=False)
    ssh: Sequence[bytes] = field(default=(), repr=False)
    pgp: Sequence[bytes] = field(default=(), repr=False)
    vault_token: str = field(default="", repr=False)
    vault_addresses: frozenset[str] = frozenset()
    gpg: bool = False
    aws: bool = False
    clouds: Clouds | None = field(default=None, repr=False)
    """Google's and Azure's; None: they are not asked."""
    allowed: Allowed | None = None
    """Which keys of services may be asked for; None: a person's own environment, which a person answers for."""
    aws_credentials: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Those of boto3's client, in place of what the environment has."""
    others: Sequence[Keyring] = field(default=(), repr=False)
    """Further keyrings, each with its own credentials, asked one after the other."""

    @staticmethod
    def of_environment(environment: Mapping[str, str] | None = None, files: Sequence[Path] = ()) -> Keyring:
        """The keys that a person's environment names (as sops finds them), and those of further files (age or PGP keys)."""
        env = os.environ if environment is None else environment
        home = Path(env.get("HOME") or "/nonexistent")
        config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
        age = [env["SOPS_AGE_KEY"]] if env.get("SOPS_AGE_KEY") else []
        places = [Path(env["SOPS_AGE_KEY_FILE"])] if env.get("SOPS_AGE_KEY_FILE") else []
        age += [t for p in (*places, config / "sops/age/keys.txt") if (t := _text(p))]
        ssh_places = [Path(env["SOPS_AGE_SSH_PRIVATE_KEY_FILE"])] if env.get("SOPS_AGE_SSH_PRIVATE_KEY_FILE") else [home / ".ssh/id_ed25519", home / ".ssh/id_rsa"]  # fmt: skip
        pgp: list[bytes] = []
        for file in files:
            data = _bytes(file)
            if b"AGE-SECRET-KEY-" in data:
                age.append(data.decode(errors="replace"))
            else:
                pgp.append(data)
        address = env.get("VAULT_ADDR") or ""
        token = env.get("VAULT_TOKEN") or _text(home / ".vault-token").strip()
        return Keyring(
            tuple(age),
            tuple(d for p in ssh_places if (d := _quiet(p))),
            tuple(pgp),
            token,
            frozenset({address.rstrip("/")} if address else ()),
            gpg=True,
            aws=True,
            clouds=Clouds(dict(env)),
        )

    @staticmethod
    def of_secret(data: Mapping[str, bytes], vault_addresses: frozenset[str] = frozenset()) -> Keyring:
        """The keys in a Kubernetes Secret's decoded data, named as Flux names them: `*.agekey`, `*.asc`, `sops.vault-token`. The token is for
        `vault_addresses` alone. Other entries are passed over.
        """
        return Keyring(
            tuple(v.decode(errors="replace") for k, v in sorted(data.items()) if k.endswith(".agekey")),
            pgp=tuple(v for k, v in sorted(data.items()) if k.endswith(".asc")),
            vault_token=data.get("sops.vault-token", b"").decode(errors="replace").strip(),
            vault_addresses=vault_addresses,
        )

    @property
    def age_identities(self) -> list[Any]:
        """All age identities, those of SSH keys among them."""
        import pyrage

        library: Any = pyrage
        found: list[Any] = []
        for text in self.age:
            for line in text.splitlines():
                if line.strip().upper().startswith("AGE-SECRET-KEY-"):
                    try:
                        found.append(library.x25519.Identity.from_str(line.strip()))
                    except Exception:  # noqa: BLE001, S112 (a key of another kind may follow)
                        continue
        for data in self.ssh:
            try:
                found.append(library.ssh.Identity.from_buffer(data))
            except Exception:  # noqa: BLE001, S112 (a key with a passphrase, or of another kind)
                continue
        return found


def _quiet(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _text(path: Path) -> str:
    return _quiet(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SopsError(f"the key file {path} cannot be read: {error.strerror}") from None


def data_key(metadata: Metadata, keyring: Keyring) -> bytes:
    """The key that a file's values are encrypted with. Raises SopsError that says for whom the file is, and why none of them is here."""
    parts: list[bytes] = []
    reasons: list[str] = []
    until = time.monotonic() + _PATIENCE
    for group in metadata.groups:
        found = _of_group(group, keyring, reasons, until)
        if found is not None:
            parts.append(found)
        if len(parts) >= metadata.threshold:
            break
    if len(parts) < metadata.threshold:
        needed = (
            f"{metadata.threshold} of {len(metadata.groups)} key groups are needed; "
            if len(metadata.groups) > 1
            else ""
        )
        raise NoKeyError(
            f"no key is here that fits this file: {needed}{'; '.join(reasons)}",
            advice="give one of these keys, or have a recipient added with `taut secrets rotate`",
        )
    if len(metadata.groups) == 1:
        key = parts[0]
    else:
        try:
            key = combine(parts)
        except ValueError:
            raise SopsError("the parts of the key do not go together", advice="restore the file from Git") from None
    if len(key) != _KEY_BYTES:
        raise SopsError("the file's key has not the right length", advice="restore the file from Git")
    return key


def _of_group(group: Sequence[Recipient], keyring: Keyring, reasons: list[str], until: float) -> bytes | None:
    for recipient in group:
        if time.monotonic() > until:
            reasons.append(f"the others were not asked any more after {_PATIENCE} s")
            return None
        whys: dict[str, None] = {}
        for ring in (keyring, *keyring.others):
            try:
                unwrap = _UNWRAP.get(recipient.kind)
                if unwrap is None:
                    raise CannotUnwrapError("keys of this kind are not supported")
                return unwrap(recipient, ring)
            except CannotUnwrapError as why:
                whys[str(why)] = None
        reasons.append(f"{recipient.name}: {', '.join(_told(list(whys)))}")
    return None


def _told(whys: list[str]) -> list[str]:
    """Why none of several keyrings opens it: that one has no key at all says nothing beside what another one found."""
    return [
        w for w in whys if not w.startswith(("there is no", "AWS is not", "Google Cloud is not", "Azure is not"))
    ] or whys[:1]


def _age(recipient: Recipient, keyring: Keyring) -> bytes:
    import pyrage

    library: Any = pyrage
    identities = keyring.age_identities
    if not identities:
        where = " (SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, --key)" if keyring.allowed is None else ""
        raise CannotUnwrapError(f"there is no age key{where}")
    lines = str(recipient.fields.get("enc") or "").strip().splitlines()
    body = "".join(line.strip() for line in lines if not line.startswith("-----"))
    try:
        return library.decrypt(base64.b64decode(body, validate=True), identities)
    except (binascii.Error, ValueError):
        raise CannotUnwrapError("the wrapped key is no age message") from None
    except Exception as error:  # noqa: BLE001 (the library has one error for everything)
        text = str(error).lower()
        if "no matching keys" in text:
            raise CannotUnwrapError("none of the age keys that are here fits") from None
        raise CannotUnwrapError("the wrapped key cannot be opened") from None


def _pgp(recipient: Recipient, keyring: Keyring) -> bytes:
    import pysequoia

    message = str(recipient.fields.get("enc") or "").encode()
    for data in keyring.pgp:
        try:
            secret = pysequoia.Tsk.from_bytes(data)
            return bytes(pysequoia.decrypt(message, secret.decryptor()).bytes or b"")
        except Exception:  # noqa: BLE001, S112 (another key may fit)
            continue
    if keyring.gpg and (program := shutil.which("gpg")):
        command = [program, "--batch", "--no-tty", "--decrypt"]
        try:
            done = subprocess.run(command, input=message, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise CannotUnwrapError(f"gpg gave no answer within {_SECONDS} s") from None
        if done.returncode == 0:
            return done.stdout
        raise CannotUnwrapError("gpg has no secret key for it")
    if keyring.allowed is not None:
        raise CannotUnwrapError("none of the PGP keys that are here fits" if keyring.pgp else "there is no PGP key")
    raise CannotUnwrapError("there is no PGP key that fits (--key), and no gpg program")


def kms_client(fields: Mapping[str, Any], own: Mapping[str, str] | None = None) -> Any:
    """A client for a key's region, with its profile and role, signing in with `own` credentials or those of the environment.

    Raises what boto3 does, and ValueError for what is no ARN of KMS.
    """
    import boto3
    from botocore.config import Config

    parts = str(fields.get("arn") or "").split(":")
    if len(parts) < 6 or parts[2] != "kms":
        raise ValueError("the ARN is none of KMS")
    session = boto3.Session(profile_name=fields.get("aws_profile") or None, region_name=parts[3], **(own or {}))
    options = Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 2})
    credentials: dict[str, Any] = {}
    if fields.get("role"):
        sts: Any = session.client("sts", config=options)
        given = sts.assume_role(RoleArn=fields["role"], RoleSessionName="taut")["Credentials"]
        credentials = {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }
    return session.client("kms", config=options, **credentials)


def _kms(recipient: Recipient, keyring: Keyring) -> bytes:
    if not keyring.aws:
        raise CannotUnwrapError("AWS is not asked here")
    from botocore.exceptions import BotoCoreError, ClientError

    fields = recipient.fields
    given = fields.get("context") or {}
    if not isinstance(given, dict):
        raise CannotUnwrapError("the encryption context is no mapping")
    context = {str(k): str(v) for k, v in given.items()}
    if keyring.allowed is not None:
        arns = [str(fields.get("arn") or ""), *([str(fields["role"])] if fields.get("role") else [])]
        if fields.get("aws_profile"):
            raise CannotUnwrapError("a file does not choose the profile here")
        if not all(keyring.allowed.has_kms(arn) for arn in arns):
            raise CannotUnwrapError("the configuration does not allow this key, or the role (awsKms)")
    try:
        blob = base64.b64decode(str(fields.get("enc") or ""), validate=True)
        client = kms_client(fields, keyring.aws_credentials)
        answer = client.decrypt(CiphertextBlob=blob, EncryptionContext=context, KeyId=fields["arn"])
        return bytes(answer["Plaintext"])
    except ClientError as error:
        raise CannotUnwrapError(f"KMS refused: {error.response.get('Error', {}).get('Code', 'unknown')}") from None
    except BotoCoreError as error:
        raise CannotUnwrapError(f"KMS cannot be asked ({type(error).__name__})") from None
    except (ValueError, KeyError):
        raise CannotUnwrapError("the ARN or the wrapped key cannot be read") from None


def vault_client(address: str, engine: str, key: str, keyring: Keyring) -> Any:
    """A client of a Vault that taut's token may be sent to. Raises CannotUnwrapError for another one, and for a path or a key's name that would
    make another request of it: `../../auth/token/revoke-self` is a name that a stranger can write.
    """
    import hvac

    if not all(_STEP.match(step) for step in (*engine.split("/"), key)):
        raise CannotUnwrapError("the path or the name of the transit key is none")

    if not keyring.vault_token:
        raise CannotUnwrapError("there is no token" + (" (VAULT_TOKEN)" if keyring.allowed is None else ""))
    if keyring.allowed is not None:
        if not keyring.allowed.has_vault(address, engine, key):
            raise CannotUnwrapError("the configuration does not allow this server and key (vault)")
    elif address.rstrip("/") not in keyring.vault_addresses:
        raise CannotUnwrapError("this server is not one that the token may be sent to (VAULT_ADDR names it)")
    return hvac.Client(url=address, token=keyring.vault_token, timeout=_SECONDS)


def _vault(recipient: Recipient, keyring: Keyring) -> bytes:
    import requests
    from hvac.exceptions import VaultError

    fields = recipient.fields
    engine, key = str(fields.get("engine_path") or "").strip("/"), str(fields.get("key_name") or "")
    client = vault_client(str(fields.get("vault_address") or ""), engine, key, keyring)
    try:
        answer: Any = client.secrets.transit.decrypt_data(
            name=key, ciphertext=str(fields.get("enc")), mount_point=engine
        )
        return base64.b64decode(answer["data"]["plaintext"])
    except VaultError as error:
        raise CannotUnwrapError(f"Vault refused ({type(error).__name__})") from None
    except (requests.RequestException, KeyError, TypeError, binascii.Error) as error:
        raise CannotUnwrapError(f"Vault cannot be asked ({type(error).__name__})") from None


def _gcp(recipient: Recipient, keyring: Keyring) -> bytes:
    if keyring.clouds is None:
        raise CannotUnwrapError("Google Cloud is not asked here")
    if keyring.allowed is not None and not keyring.allowed.has_gcp(str(recipient.fields.get("resource_id"))):
        raise CannotUnwrapError("the configuration does not allow this key (gcpKms)")
    try:
        return keyring.clouds.gcp_decrypt(str(recipient.fields.get("resource_id")), str(recipient.fields.get("enc")))
    except CloudError as why:
        raise CannotUnwrapError(str(why)) from None


def _azure(recipient: Recipient, keyring: Keyring) -> bytes:
    if keyring.clouds is None:
        raise CannotUnwrapError("Azure is not asked here")
    vault, name, version, enc = (str(recipient.fields.get(k)) for k in ("vault_url", "name", "version", "enc"))
    if keyring.allowed is not None and not keyring.allowed.has_azure(vault, name):
        raise CannotUnwrapError("the configuration does not allow this key (azureKeyVault)")
    try:
        return keyring.clouds.azure_decrypt(vault, name, version, enc)
    except CloudError as why:
        raise CannotUnwrapError(str(why)) from None


_UNWRAP: dict[str, Callable[[Recipient, Keyring], bytes]] = {
    "age": _age,
    "pgp": _pgp,
    "kms": _kms,
    "gcp_kms": _gcp,
    "azure_kv": _azure,
    "hc_vault": _vault,
}
