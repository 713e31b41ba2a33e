"""A broker with TLS, SASL and Kafka's authorizer, its certificates, users and access rights."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import ipaddress
import secrets
import shlex
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest_v1, DeleteAclsRequest, DescribeAclsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Schema, TaggedFields
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.adapters.kafka.admin import KafkaAdmin
from app.adapters.kafka.clients import KafkaClients
from app.core.errors import Unavailable
from app.core.kafka_connection import KafkaConnection
from app.core.secret_text import SecretText
from app.embedded.broker.broker import EmbeddedBroker
from app.embedded.broker.jars import default_cache
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.token_issuer import TokenIssuer

_ITERATIONS = 4096
#: of Kafka's ScramMechanism, and the hash
_SCRAM = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}
#: of Kafka's AclOperation, ResourceType, PatternType and AclPermissionType
OPERATIONS = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Describe": 8,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
    "IdempotentWrite": 12,
}
RESOURCES = {"topic": 2, "group": 3, "cluster": 4, "transactional-id": 5}
_LITERAL, _ALLOW = 3, 3


class Authority:
    """A certificate authority that writes PEM files."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = folder / f"{name}.pem"
        self._certificate = self._sign(name, self._key, authority=True, names=())
        self.ca_file.write_bytes(_pem(self._certificate))

    def issue(self, name: str, names: Sequence[str] = ("localhost", "127.0.0.1"), days: int = 30) -> tuple[Path, Path]:
        """Certificate and key files of a new certificate, valid for `days`; files of the same name are replaced."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate, private = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        certificate.write_bytes(_pem(self._sign(name, key, authority=False, names=names, days=days)))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private

    def keystore(
        self, name: str, names: Sequence[str] = ("localhost", "127.0.0.1"), days: int = 30, file: Path | None = None
    ) -> Path:
        """One file with key and certificates, as Kafka reads it; `file` is replaced if it is given."""
        certificate, private = self.issue(name, names, days)
        file = file or self._folder / f"{name}.keystore.pem"
        file.write_bytes(private.read_bytes() + certificate.read_bytes() + self.ca_file.read_bytes())
        return file

    def _sign(self, name: str, key: Any, *, authority: bool, names: Sequence[str], days: int = 30) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), False)
        return builder.sign(self._key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Acl(NamedTuple):
    """One permission of one principal."""

    principal: str
    resource: str
    name: str
    operation: str


class SecureBroker:
    """Listeners: `plain` (the superuser's), `sasl_ssl`, `sasl_plain`, `mutual` (TLS with clients' certificates), `odd`,
    and `renewed`, for a test that replaces its certificate.

    The certificate of `odd` is for another host name. PLAIN's only user is `plain` with the password `plain-secret`.
    """

    LISTENERS = ("sasl_ssl", "sasl_plain", "mutual", "odd", "renewed")

    def __init__(self, folder: Path, cache: Path | None = None, tokens: TokenIssuer | None = None) -> None:
        """`tokens`: the issuer whose tokens `sasl_ssl` accepts; Java runs with its `java_options`."""
        self._tokens = tokens
        self.authority = Authority(folder / "certificates")
        self._keystore = self.authority.keystore("broker")
        self._renewed = self.authority.keystore("renewed")
        self.ports = {name: free_port() for name in ("plain", "controller", *self.LISTENERS)}
        self.own = EmbeddedBroker(
            data_dir=folder,
            port=self.ports["plain"],
            cache_dir=cache or default_cache(),
            properties=self._properties(),
        )

    def _properties(self) -> dict[str, str]:
        kinds = {
            "sasl_ssl": "SASL_SSL",
            "sasl_plain": "SASL_PLAINTEXT",
            **dict.fromkeys(("mutual", "odd", "renewed"), "SSL"),
        }
        listeners = {"broker": "plain", "controller": "controller", **{name: name for name in self.LISTENERS}}
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        plain = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_plain="plain-secret";'
        properties = {
            "listeners": ",".join(f"{name.upper()}://127.0.0.1:{self.ports[port]}" for name, port in listeners.items()),
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['controller']}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            + ",".join(f"{name.upper()}:{kind}" for name, kind in kinds.items()),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority.ca_file),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.odd.ssl.keystore.type": "PEM",
            "listener.name.odd.ssl.keystore.location": str(self.authority.keystore("odd", ["kafka.example"])),
            "listener.name.renewed.ssl.keystore.type": "PEM",
            "listener.name.renewed.ssl.keystore.location": str(self._renewed),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:plain;User:CN=client",
        }
        for listener, mechanisms in (
            ("sasl_ssl", "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN"),
            ("sasl_plain", "SCRAM-SHA-512,PLAIN"),
        ):
            start = f"listener.name.{listener}"
            properties |= {
                f"{start}.sasl.enabled.mechanisms": mechanisms,
                f"{start}.scram-sha-256.sasl.jaas.config": scram,
                f"{start}.scram-sha-512.sasl.jaas.config": scram,
                f"{start}.plain.sasl.jaas.config": plain,
            }
        return properties | (self._tokens.properties("sasl_ssl") if self._tokens else {})

    def replace_keystore(self, authority: Authority) -> None:
        """Give all other listeners, at the next start, a certificate of another authority."""
        authority.keystore("broker", file=self._keystore)

    async def replace_certificate(self, authority: Authority, days: int = 30) -> None:
        """Give the listener `renewed` of the running broker a certificate that is valid for `days`."""
        authority.keystore("renewed", days=days, file=self._renewed)
        name = "listener.name.renewed.ssl.keystore.location"
        admin = self.superuser().admin("test-admin")
        await admin.start()
        try:
            resource = ConfigResource(ConfigResourceType.BROKER, "1", configs={name: str(self._renewed)})
            for answer in await admin.alter_configs([resource]):
                assert all(error == 0 for error, *_ in answer.resources), answer
        finally:
            await admin.close()

    def address(self, listener: str) -> str:
        """host:port of a listener."""
        return f"127.0.0.1:{self.ports[listener]}"

    def superuser(self) -> KafkaClients:
        """Clients that may do everything."""
        return KafkaClients(KafkaConnection(bootstrap=self.address("plain")))

    def scram(self, user: str, password: str, **changes: Any) -> KafkaConnection:
        """A connection over SASL_SSL with SCRAM."""
        fields: dict[str, Any] = {
            "sasl_mechanism": "SCRAM-SHA-512",
            "username": user,
            "password": SecretText(password),
        }
        return self.sasl(**(fields | changes))

    def sasl(self, **fields: Any) -> KafkaConnection:
        """A connection over SASL_SSL."""
        place: dict[str, Any] = {
            "bootstrap": self.address("sasl_ssl"),
            "security": "sasl_ssl",
            "ca_file": self.authority.ca_file,
        }
        return KafkaConnection(**(place | fields))

    async def add_users(self, passwords: dict[str, str]) -> None:
        """Create SCRAM users, or change their passwords; returns when the broker accepts the last one."""
        for number, hash_name in _SCRAM.values():
            upserts: list[Any] = [
                (user, number, _ITERATIONS, *_salted(password, hash_name), {}) for user, password in passwords.items()
            ]
            answer = await self._send(_Scram(upserts))
            assert all(result["error_code"] == 0 for result in answer.to_object()["results"]), answer
        user, password = list(passwords.items())[-1]
        async with asyncio.timeout(PATIENCE_S):
            for mechanism in _SCRAM:
                while not await accepts(self.scram(user, password, sasl_mechanism=mechanism)):
                    await asyncio.sleep(0.05)

    async def allow(self, acls: Iterable[Acl]) -> None:
        """Grant permissions."""
        rows = [
            (
                RESOURCES[acl.resource],
                acl.name,
                _LITERAL,
                f"User:{acl.principal}",
                "*",
                OPERATIONS[acl.operation],
                _ALLOW,
            )
            for acl in acls
        ]
        answer = await self._send(_Acls(rows))
        assert all(code == 0 for code, _ in answer.creation_responses), answer
        if rows:
            await self._until_granted(rows[-1])

    async def _until_granted(self, row: Sequence[Any]) -> None:
        """Wait until the broker has a permission: it is a moment behind the controller."""
        async with asyncio.timeout(PATIENCE_S):
            while not (await self._send(DescribeAclsRequest(*row))).resources:
                await asyncio.sleep(0.05)

    async def withdraw(self, acls: Iterable[Acl]) -> None:
        """Take permissions back."""
        for acl in acls:
            answer = await self._send(
                DeleteAclsRequest(
                    RESOURCES[acl.resource],
                    acl.name,
                    _LITERAL,
                    f"User:{acl.principal}",
                    "*",
                    OPERATIONS[acl.operation],
                    _ALLOW,
                )
            )
            ((code, _, matching),) = answer.filter_responses
            assert code == 0 and len(matching) == 1, answer

    async def _send(self, request: Any) -> Any:
        client = self.superuser().metadata_client("test-admin")
        await client.bootstrap()
        try:
            (node,) = [broker.nodeId for broker in client.cluster.brokers()]
            return await client.send(node, request)
        finally:
            await client.close()


async def accepts(connection: KafkaConnection) -> bool:
    """Whether a broker accepts a login."""
    try:
        async with KafkaAdmin(KafkaClients(connection)):
            return True
    except Unavailable:
        return False


def _salted(password: str, hash_name: str) -> tuple[bytes, bytes]:
    salt = secrets.token_bytes(16)
    return salt, hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, _ITERATIONS)


class _ScramResponse(Response):
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _ScramStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _ScramResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Scram(Request[_ScramStruct]):
    API_KEY = 51

    def __init__(self, upserts: list[Any]) -> None:
        self._upserts = upserts

    def build(self, request_struct_class: Any) -> Any:
        """The request."""
        return request_struct_class([], self._upserts, {})


class _Acls(Request[CreateAclsRequest_v1]):
    API_KEY = 30

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def build(self, request_struct_class: Any) -> Any:
        """The request."""
        return request_struct_class(self._rows)


def printed_acls(text: str) -> list[Acl]:
    """The permissions that commands for kafka-acls.sh would grant."""
    granted = []
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        pairs = list(pairwise(words))
        users = [value.removeprefix("User:") for name, value in pairs if name == "--allow-principal"]
        operations = [value for name, value in pairs if name == "--operation"]
        named = [(name.removeprefix("--"), value) for name, value in pairs if name.removeprefix("--") in RESOURCES]
        resources = [("cluster", "kafka-cluster")] if "--cluster" in words else named
        granted += [
            Acl(user, *resource, operation) for user in users for resource in resources for operation in operations
        ]
    return granted
