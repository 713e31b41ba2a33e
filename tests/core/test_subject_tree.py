"""A destroyed key cannot be derived any more, and every other key stays what it was."""

from __future__ import annotations

import random

import pytest

from app.core import subject_tree as tree
from app.core.subject_tree import Nodes

SEED = bytes(range(16))


@pytest.mark.parametrize("levels", [1, 4, tree.ROOT_LEVELS, tree.BRANCH_LEVELS])
def test_all_other_leaves_keep_their_seeds(levels: int) -> None:
    chance = random.Random(levels)
    nodes = whole = tree.top(SEED)
    destroyed: set[int] = set()
    for _ in range(20):
        leaf = chance.randrange(1 << levels)
        destroyed.add(leaf)
        nodes = tree.without(nodes, leaf, levels)
        # the neighbours in the tree are the leaves that a mistake would take along
        near = [leaf ^ (1 << bit) for bit in range(levels)]
        for other in {*near, *(chance.randrange(1 << levels) for _ in range(20))} - destroyed:
            assert tree.seed_of(nodes, other, levels) == tree.seed_of(whole, other, levels) is not None
        assert all(tree.seed_of(nodes, each, levels) is None for each in destroyed)
    assert len(nodes) <= len(destroyed) * levels


def test_no_node_that_is_left_leads_to_a_destroyed_leaf() -> None:
    levels, leaf = 8, 0b10110010
    nodes = tree.without(tree.top(SEED), leaf, levels)
    assert len(nodes) == levels
    assert all(leaf >> (levels - level) != path for level, path in nodes)
    for level, path in nodes:  # a seed below an ancestor of the leaf is not one of its ancestors' seeds either
        assert nodes[level, path] == tree.seed_of(tree.top(SEED), path, level) or level == 0


def test_the_last_leaf_leaves_an_empty_part() -> None:
    nodes: Nodes = tree.top(SEED)
    for leaf in range(8):
        nodes = tree.without(nodes, leaf, 3)
    assert not nodes
    assert tree.without(nodes, 5, 3) is nodes, "once more changes nothing"


def test_nodes_are_packed_and_unpacked() -> None:
    nodes = tree.without(tree.without(tree.top(SEED), 1, 36), (1 << 36) - 1, 36)
    assert tree.unpack(tree.pack(nodes)) == nodes
    with pytest.raises(ValueError, match="no nodes"):
        tree.unpack(tree.pack(nodes)[:-1])


def test_ids_and_leaves_depend_on_everything_that_names_a_subject() -> None:
    salt = bytes(32)
    named = [("a", "live", "s"), ("a", "test", "s"), ("b", "live", "s"), ("a", "live", "t"), ("a", "live", "s ")]
    assert len({tree.subject_id(salt, *each) for each in named}) == len(named)
    assert tree.subject_id(bytes(31) + b"x", *named[0]) != tree.subject_id(salt, *named[0])
    leaves = {tree.leaf_of(salt, "ers_1", number, spare) for number in range(3) for spare in range(3)}
    assert len(leaves) == 9 and all(0 <= leaf < 1 << 48 for leaf in leaves)
    name, path, below = tree.branch_of(0xABC123456789)
    assert (name, path, below) == ("abc", 0xABC, 0x123456789)
