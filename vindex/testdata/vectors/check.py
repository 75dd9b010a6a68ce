"""Checks the vectors beside it with an implementation of stemma-vindex/v1 of
its own: lists and recursion, standard library only. Prints what disagrees."""

import hashlib
import json
import os
import sys


class Bad(Exception):
    pass


def sha256(b):
    return hashlib.sha256(b).digest()


def uvarint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def bit(key, i):
    return key[i >> 3] >> (7 - i % 8) & 1


def parts_at(a, b):
    return next((i for i in range(256) if bit(a, i) != bit(b, i)), 256)


def list_hash(entries):
    body = b"".join(e.to_bytes(8, "big") for e in entries)
    return sha256(b"stemma-vindex/v1 list\n" + body + len(entries).to_bytes(8, "big"))


def leaf(key, value):
    return sha256(b"\x00\x20" + key + b"\x20" + value)


def inner(b, left, right):
    return sha256(b"\x01" + uvarint(b) + left + right)


def root(pairs):
    """The root of a map, from its sorted pairs."""
    if not pairs:
        return sha256(b"")
    if len(pairs) == 1:
        return leaf(*pairs[0])
    b = parts_at(pairs[0][0], pairs[-1][0])
    return inner(b, *(root([p for p in pairs if bit(p[0], b) == side]) for side in (0, 1)))


class Proof:
    """A proof of many keys: parsed, its root computed, looked up in."""

    LINE = b"stemma-vindex/v1 proof\n"

    def __init__(self, data):
        if not data.startswith(self.LINE):
            raise Bad("first line")
        self.data, self.at, self.leaves = data, len(self.LINE), []
        self.top = self.node([])
        if self.at != len(data):
            raise Bad("too long")

    def take(self, n):
        if self.at + n > len(self.data):
            raise Bad("too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def node(self, path):
        kind = self.take(1)[0]
        if kind in (0, 5):
            if path:
                raise Bad("stands only alone")
            return ("empty",) if kind == 0 else ("hash", self.take(32))
        if kind == 1:
            return self.leaf(path)
        if kind not in (2, 3, 4):
            raise Bad("kind")
        b = self.take(1)[0]
        if path and b <= path[-1][0]:
            raise Bad("bits do not grow")
        hidden = ("hash", self.take(32)) if kind != 2 else None
        left = hidden if kind == 4 else self.node(path + [(b, 0)])
        right = hidden if kind == 3 else self.node(path + [(b, 1)])
        return ("inner", b, left, right)

    def leaf(self, path):
        key, value = self.take(32), self.take(32)
        if any(bit(key, b) != side for b, side in path):
            raise Bad("side")
        if self.leaves:
            before, way = self.leaves[-1]
            i = next(i for i in range(256) if way[i] != path[i])
            if parts_at(before, key) != path[i][0]:
                raise Bad("neighbours")
        self.leaves.append((key, path))
        return ("leaf", key, value)

    def root(self, n=None):
        n = n or self.top
        if n[0] == "empty":
            return sha256(b"")
        if n[0] == "hash":
            return n[1]
        if n[0] == "leaf":
            return leaf(n[1], n[2])
        return inner(n[1], self.root(n[2]), self.root(n[3]))

    def lookup(self, key):
        n = self.top
        while n[0] == "inner":
            n = n[2 + bit(key, n[1])]
        if n[0] == "hash":
            return "unknown", ""
        if n[0] == "leaf" and n[1] == key:
            return "present", n[2].hex()
        return "absent", ""


def climb(key, h, way):
    """The root to which a way leads up from a leaf, and the bits on it."""
    bits, last = [], 256
    while way:
        if way[0] < 128:
            b, way = way[0], way[1:]
        elif len(way) > 1 and way[1] == 1:
            b, way = way[0], way[2:]
        else:
            raise Bad("no bit")
        if b >= last or len(way) < 32:
            raise Bad("way")
        side, way, last = way[:32], way[32:], b
        bits.append(b)
        h = inner(b, side, h) if bit(key, b) else inner(b, h, side)
    return h, bits


def present(want, key, value, proof):
    return climb(key, leaf(key, value), proof)[0] == want


def absent(want, key, proof):
    if not proof:
        return want == sha256(b"")
    if len(proof) < 66 or proof[0] != 32 or proof[33] != 32:
        raise Bad("no leaf")
    other, value = proof[1:33], proof[34:66]
    h, bits = climb(other, leaf(other, value), proof[66:])
    return other != key and h == want and all(bit(other, b) == bit(key, b) for b in bits)


def holds(claim, *args):
    try:
        return claim(*args)
    except Bad:
        return False


def main(folder):
    def read(name):
        with open(os.path.join(folder, name)) as f:
            return json.load(f)

    wrong, n = [], 0

    def check(name, ok):
        nonlocal n
        n += 1
        if not ok:
            wrong.append(name)

    un = bytes.fromhex
    for v in read("lists.json"):
        check(v["name"], list_hash(v["entries"]).hex() == v["hash"])
    for v in read("trees.json"):
        check(v["name"], root(sorted((un(k), un(h)) for k, h in v["pairs"])).hex() == v["root"])
    for v in read("proofs.json"):
        check(v["name"], holds(lambda p, want: Proof(p).root() == want, un(v["proof"]), un(v["root"])) == v["holds"])
        for look in v.get("lookups", []):
            found = Proof(un(v["proof"])).lookup(un(look["key"]))
            check(v["name"], found == (look["found"], look.get("value", "")))
    for v in read("points.json"):
        args = [un(v["root"]), un(v["key"])] + ([un(v["value"])] if v["claim"] == "present" else []) + [un(v["proof"])]
        check(v["name"], holds(present if v["claim"] == "present" else absent, *args) == v["holds"])
    for name in wrong:
        print("disagrees:", name)
    print(n, "checks")
    return 1 if wrong or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))))
