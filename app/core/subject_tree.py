"""A tree of keys from which single keys can be destroyed: one root, and a leaf for each subject.

A node is a seed, and its two children are hashes of it (Goldreich, Goldwasser and Micali 1984), so no key of a subject
has to be stored. To destroy a leaf, the nodes above it are replaced by the siblings along its path: every other leaf
can still be derived, this one cannot (a puncturable pseudorandom function). Each destroyed key therefore costs about
35 nodes of 22 bytes.

The tree is stored in parts: the root's part has the first levels, and a branch becomes a part of its own when the first
key below it is destroyed, so that an erasure writes a few kilobytes.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from hashlib import blake2b, sha256

#: levels of the root's part, and of a branch
ROOT_LEVELS, BRANCH_LEVELS = 12, 36
ROOT, SALT = "root", "salt"
#: bytes of a seed, and of the salt
SEED_BYTES, SALT_BYTES = 16, 32
_PREFIX_BYTES = 5
_NODE_BYTES = 1 + _PREFIX_BYTES + SEED_BYTES
_BRANCH = (1 << BRANCH_LEVELS) - 1

#: (levels below the top of the part, the path to there) → seed
Nodes = Mapping[tuple[int, int], bytes]


def top(seed: bytes) -> Nodes:
    """A part from which nothing was destroyed."""
    return {(0, 0): seed}


def branch_of(leaf: int) -> tuple[str, int, int]:
    """The branch of a leaf: its name, the path to it in the root's part, and the leaf's path below it."""
    path = leaf >> BRANCH_LEVELS
    return f"{path:03x}", path, leaf & _BRANCH


def seed_of(nodes: Nodes, path: int, levels: int) -> bytes | None:
    """The seed at the end of a path; None if it was destroyed."""
    covering = _covering(nodes, path, levels)
    if covering is None:
        return None
    seed = nodes[covering]
    for level in range(covering[0], levels):
        seed = _child(seed, _bit(path, level, levels))
    return seed


def without(nodes: Nodes, path: int, levels: int) -> Nodes:
    """The part after the seed at the end of a path is destroyed."""
    covering = _covering(nodes, path, levels)
    if covering is None:
        return nodes
    left = dict(nodes)
    seed = left.pop(covering)
    for level in range(covering[0], levels):
        bit = _bit(path, level, levels)
        left[level + 1, (path >> (levels - level - 1)) ^ 1] = _child(seed, 1 - bit)
        seed = _child(seed, bit)
    return left


def data_key(seed: bytes) -> bytes:
    """The key of a leaf, of 32 bytes."""
    return blake2b(b"data key", key=seed, digest_size=32).digest()


def subject_id(salt: bytes, tenant: str, mode: str, subject: str) -> str:
    """The id of a subject's erasures."""
    named = f"{tenant}\0{mode}\0{subject}".encode()
    return "ers_" + hmac.new(salt, named, sha256).hexdigest()[:32]


def leaf_of(salt: bytes, erasure_id: str, number: int, spare: int = 0) -> int:
    """The leaf of a subject that was erased `number` times.

    `spare`: another one for a subject whose leaf another subject shares, and took with it. Of a million subjects, two
    share one with a probability of 0.2 %.
    """
    named = f"{erasure_id}/{number}/{spare}".encode()
    digest = hmac.new(salt, named, sha256).digest()
    return int.from_bytes(digest[:6], "big")


def pack(nodes: Nodes) -> bytes:
    """The nodes as bytes."""
    return b"".join(
        bytes((level,)) + path.to_bytes(_PREFIX_BYTES, "big") + seed for (level, path), seed in nodes.items()
    )


def unpack(packed: bytes) -> Nodes:
    """The nodes of `pack`. Raises `ValueError` if they are damaged."""
    if len(packed) % _NODE_BYTES:
        raise ValueError(f"{len(packed)} bytes are no nodes")
    return dict(_nodes(packed))


def _nodes(packed: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    for begin in range(0, len(packed), _NODE_BYTES):
        node = packed[begin : begin + _NODE_BYTES]
        yield (node[0], int.from_bytes(node[1 : 1 + _PREFIX_BYTES], "big")), node[1 + _PREFIX_BYTES :]


def _covering(nodes: Nodes, path: int, levels: int) -> tuple[int, int] | None:
    return next(((level, at) for level in range(levels + 1) if (level, at := path >> (levels - level)) in nodes), None)


def _bit(path: int, level: int, levels: int) -> int:
    return (path >> (levels - level - 1)) & 1


def _child(seed: bytes, bit: int) -> bytes:
    return blake2b(b"\1" if bit else b"\0", key=seed, digest_size=SEED_BYTES).digest()
