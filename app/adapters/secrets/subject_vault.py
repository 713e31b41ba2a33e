"""Seal the bodies of events with a subject, with AES-256-GCM under keys of the tree in the registry."""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.adapters.secrets.keyring import AesKeyRing
from app.core import subject_tree as tree
from app.core.errors import CommandRefused, ConfigError, Defect, Unavailable
from app.core.model.delivery import Delivery
from app.core.model.erasure import SubjectKeys
from app.core.model.event import Event
from app.core.subject_tree import Nodes
from app.core.subjects import KnownErasures, SealedBody

_NONCE = 12
#: ciphers and parts of the tree that a process remembers
_CIPHERS, _PARTS = 10_000, 500
#: leaves of a subject that are tried, if others have taken one with them
_SPARES = 4
_NO_KEYS = "the registry has no keys of subjects yet: its writer makes them when it starts (all processes upgraded?)"


class AesSubjectVault:
    """`app.core.subjects.SubjectVault`, over the erasures that this process knows."""

    def __init__(self, erasures: Callable[[], KnownErasures], ring: AesKeyRing) -> None:
        self._erasures = erasures
        self._parts = _OpenedParts(ring)
        #: leaf → the part that it was derived from, and its cipher
        self._ciphers: dict[str, tuple[SubjectKeys, AESGCM]] = {}

    def is_erased(self, event: Event, appended_at_ms: int) -> bool:
        """See `SubjectVault`."""
        if event.subject is None or not self._erasures().by_id:
            return False
        erasure = self._erasures().by_id.get(self.erasure_id(event.tenant, event.mode, event.subject))
        return erasure is not None and appended_at_ms <= erasure.erased_at_ms

    def seal(self, event: Event, appended_at_ms: int) -> SealedBody:
        """See `SubjectVault`."""
        if event.subject is None:
            raise Defect("an event without a subject is not sealed")
        salt = self._salt()
        erasure_id = tree.subject_id(salt, event.tenant, event.mode, event.subject)
        erasure = self._erasures().by_id.get(erasure_id)
        number = 0 if erasure is None else erasure.version
        if erasure is not None and appended_at_ms <= erasure.erased_at_ms:
            return SealedBody(b"", f"{tree.leaf_of(salt, erasure_id, number - 1):012x}")
        for spare in range(_SPARES):
            leaf = f"{tree.leaf_of(salt, erasure_id, number, spare):012x}"
            cipher = self._cipher(leaf)
            if cipher is not None:
                nonce = secrets.token_bytes(_NONCE)
                bound = _bound(event.tenant, event.mode, event.id)
                return SealedBody(nonce + cipher.encrypt(nonce, event.body, bound), leaf)
        raise Defect("every key of a subject belongs to erased ones, too")

    def has_key(self, leaf: str) -> bool:
        """See `SubjectVault`."""
        return self._cipher(leaf) is not None

    def open(self, delivery: Delivery) -> Delivery | None:
        """See `SubjectVault`."""
        if delivery.sealed is None:
            return delivery
        cipher = self._cipher(delivery.sealed)
        if cipher is None:
            return None
        value, bound = delivery.body, _bound(delivery.tenant, delivery.mode, delivery.event_id)
        try:
            body = cipher.decrypt(value[:_NONCE], value[_NONCE:], bound)
        except (InvalidTag, ValueError) as error:
            raise Defect(f"the sealed body of delivery {delivery.id} was changed") from error
        return msgspec.structs.replace(delivery, body=body, sealed=None)

    def erasure_id(self, tenant: str, mode: str, subject: str) -> str:
        """See `SubjectVault`."""
        return tree.subject_id(self._salt(), tenant, mode, subject)

    def _salt(self) -> bytes:
        salt = self._erasures().keys.get(tree.SALT)
        if salt is None:
            raise Unavailable(_NO_KEYS)
        return self._parts.salt(salt)

    def _cipher(self, leaf: str) -> AESGCM | None:
        parts = self._erasures().keys
        name, _, _ = tree.branch_of(int(leaf, 16))
        source = parts.get(name) or parts.get(tree.ROOT)
        if source is None:
            raise ConfigError([_NO_KEYS])
        remembered = self._ciphers.get(leaf)
        if remembered is not None and remembered[0] is source:
            return remembered[1]
        seed = self._parts.seed(self._erasures(), int(leaf, 16))
        if seed is None:
            self._ciphers.pop(leaf, None)
            return None
        if len(self._ciphers) >= _CIPHERS:
            self._ciphers.clear()
        cipher = AESGCM(tree.data_key(seed))
        self._ciphers[leaf] = source, cipher
        return cipher


class AesSubjectKeeper:
    """`app.core.subjects.SubjectKeeper`."""

    def __init__(self, ring: AesKeyRing) -> None:
        self._ring = ring
        self._parts = _OpenedParts(ring)

    def create(self, now_ms: int) -> list[SubjectKeys]:
        """See `SubjectKeeper`."""
        root = tree.top(secrets.token_bytes(tree.SEED_BYTES))
        salt = secrets.token_bytes(tree.SALT_BYTES)
        return [self._sealed(tree.ROOT, tree.pack(root), 1, now_ms), self._sealed(tree.SALT, salt, 1, now_ms)]

    def destroy(self, erasures: KnownErasures, erasure_id: str, number: int, now_ms: int) -> list[SubjectKeys]:
        """See `SubjectKeeper`."""
        root, salt = erasures.keys.get(tree.ROOT), erasures.keys.get(tree.SALT)
        if root is None or salt is None:
            raise CommandRefused("invalid", _NO_KEYS)
        for spare in range(_SPARES):
            leaf = tree.leaf_of(self._parts.salt(salt), erasure_id, number, spare)
            if self._parts.seed(erasures, leaf) is not None:
                return self._destroyed(erasures, root, leaf, now_ms)
        return []

    def _destroyed(self, erasures: KnownErasures, root: SubjectKeys, leaf: int, now_ms: int) -> list[SubjectKeys]:
        name, path, below = tree.branch_of(leaf)
        branch = erasures.keys.get(name)
        if branch is not None:
            left = tree.without(self._parts.nodes(branch), below, tree.BRANCH_LEVELS)
            return [self._part(name, left, branch.version + 1, now_ms)]
        nodes = self._parts.nodes(root)
        seed = tree.seed_of(nodes, path, tree.ROOT_LEVELS)
        if seed is None:
            raise Defect(f"the branch {name} of the keys of subjects is missing")
        left = tree.without(tree.top(seed), below, tree.BRANCH_LEVELS)
        rest = tree.without(nodes, path, tree.ROOT_LEVELS)
        return [self._part(name, left, 1, now_ms), self._part(tree.ROOT, rest, root.version + 1, now_ms)]

    def reseal(self, erasures: KnownErasures, first: str, limit: int, now_ms: int) -> list[SubjectKeys]:
        """See `SubjectKeeper`."""
        if first != self._ring.first:
            raise CommandRefused("invalid", f"the registry's key ring seals with {self._ring.first}, not with {first}")
        others = [each for each in erasures.keys.values() if each.sealed.key_id != first]
        return [self._sealed(each.id, self._parts.plain(each), each.version + 1, now_ms) for each in others[:limit]]

    def _part(self, name: str, nodes: Nodes, version: int, now_ms: int) -> SubjectKeys:
        made = self._sealed(name, tree.pack(nodes), version, now_ms)
        self._parts.remember(made, nodes)
        return made

    def _sealed(self, name: str, plain: bytes, version: int, now_ms: int) -> SubjectKeys:
        sealed = self._ring.seal(b64encode(plain).decode(), f"subject-keys/{name}", now_ms)
        return SubjectKeys(id=name, sealed=sealed, version=version)


class _OpenedParts:
    """Opens parts of the tree, and remembers some of them."""

    def __init__(self, ring: AesKeyRing) -> None:
        self._ring = ring
        #: name of a part → the blob that its nodes come from, and them
        self._nodes: dict[str, tuple[str, Nodes]] = {}
        self._salt = "", b""

    def plain(self, keys: SubjectKeys) -> bytes:
        """The sealed bytes. Raises `ConfigError` if no key of the ring opens it."""
        return b64decode(self._ring.open(keys.sealed, keys.owner))

    def salt(self, keys: SubjectKeys) -> bytes:
        """The salt. Raises `ConfigError` as `plain` does."""
        if self._salt[0] != keys.sealed.blob:
            self._salt = keys.sealed.blob, self.plain(keys)
        return self._salt[1]

    def nodes(self, keys: SubjectKeys) -> Nodes:
        """The nodes of a part. Raises `ConfigError` as `plain` does."""
        remembered = self._nodes.get(keys.id)
        if remembered is not None and remembered[0] == keys.sealed.blob:
            return remembered[1]
        nodes = tree.unpack(self.plain(keys))
        self.remember(keys, nodes)
        return nodes

    def remember(self, keys: SubjectKeys, nodes: Nodes) -> None:
        """Remember the nodes of a part."""
        if len(self._nodes) >= _PARTS:
            self._nodes.clear()
        self._nodes[keys.id] = keys.sealed.blob, nodes

    def seed(self, erasures: KnownErasures, leaf: int) -> bytes | None:
        """The seed of a leaf; None if it was destroyed."""
        name, path, below = tree.branch_of(leaf)
        branch = erasures.keys.get(name)
        if branch is not None:
            return tree.seed_of(self.nodes(branch), below, tree.BRANCH_LEVELS)
        root = erasures.keys.get(tree.ROOT)
        top = None if root is None else tree.seed_of(self.nodes(root), path, tree.ROOT_LEVELS)
        return None if top is None else tree.seed_of(tree.top(top), below, tree.BRANCH_LEVELS)


def _bound(tenant: str, mode: str, event_id: str) -> bytes:
    """Associated data: a sealed body is of no use under another event."""
    return f"{tenant}\0{mode}\0{event_id}".encode()
