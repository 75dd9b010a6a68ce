#!/usr/bin/env python3
"""Verify a completeness proof of Stemma, with nothing but Python.

    python3 verify.py FILE.zip LOG-KEY        LOG-KEY: NAME+HASH+KEY, or a file that holds it

It shares no code with the program stemma, so that a mistake in the one is found by the other. It checks the signature
of the checkpoint, that each entry is in the log, that the last entry tells the root of the index over all before it,
that each list is the one under that root, and it answers the question anew from the entries. Then it writes the
bundle again and compares every byte.

Exit codes: 0 it holds, 1 failure, 2 usage, 12 it does not hold. Needs Python 3.9 or later, and no other module.

The formats are described in docs/proofs.md, docs/format-statement.md and the package comments of vindex and bundle.
"""

import base64
import bisect
import calendar
import hashlib
import html
import io
import json
import os
import re
import struct
import sys
import unicodedata
import zipfile
import zlib


class Bad(Exception):
    """Says what does not hold."""


class Unread(Exception):
    """A statement that cannot be read."""


def sha256(b):
    return hashlib.sha256(b).digest()


# ---------------------------------------------------------------- Ed25519 (RFC 8032 section 5.1.7)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def ed_add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def ed_mul(s, p):
    q = (0, 1, 1, 0)
    while s > 0:
        if s & 1:
            q = ed_add(q, p)
        p = ed_add(p, p)
        s >>= 1
    return q


def ed_point(b):
    y = int.from_bytes(b, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


ED_BASE = ed_point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed_verify(key, message, sig):
    if len(key) != 32 or len(sig) != 64:
        return False
    a, r, s = ed_point(key), ed_point(sig[:32]), int.from_bytes(sig[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(sig[:32] + key + message).digest(), "little") % L
    u, v = ed_mul(s, ED_BASE), ed_add(r, ed_mul(h, a))
    return (u[0] * v[2] - v[0] * u[2]) % P == 0 and (u[1] * v[2] - v[1] * u[2]) % P == 0


# ---------------------------------------------------------------- base64, JSON


def b64(s):
    """Standard base64 with padding, in its one form."""
    try:
        out = base64.b64decode(s.encode("ascii"), validate=True)
    except ValueError:
        raise Bad("base64 cannot be read")
    if base64.b64encode(out).decode() != s:
        raise Bad("base64 is not in its one form")
    return out


def no_duplicates(pairs):
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key is there twice")
    return out


def no_constant(s):
    raise ValueError(s)


def load(data):
    """JSON, with no key twice, of valid UTF-8."""
    try:
        v = json.loads(data.decode("utf-8"), object_pairs_hook=no_duplicates, parse_constant=no_constant)
        json.dumps(v, ensure_ascii=False).encode("utf-8")  # a half of a surrogate pair fails here
        return v
    except (ValueError, RecursionError) as e:
        raise Bad("JSON: %s" % e)


def dump(v):
    """JSON on one line, as the bundle has it."""
    s = json.dumps(v, ensure_ascii=False, separators=(",", ":"))
    return s.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode("utf-8") + b"\n"


# ---------------------------------------------------------------- checkpoint (C2SP signed note) and RFC 6962


def is_name(name):
    return name != "" and "+" not in name and not any(c.isspace() for c in name)


class LogKey:
    def __init__(self, text):
        parts = text.split("+", 2)
        try:
            if len(parts) != 3 or not re.fullmatch("[0-9a-fA-F]{8}", parts[1]) or not is_name(parts[0]):
                raise ValueError
            key = base64.b64decode(parts[2], validate=True)
        except ValueError:
            raise ValueError("it is neither a file nor a log's public key (NAME+HASH+KEY)")
        self.name, self.hash = parts[0], bytes.fromhex(parts[1])
        if len(key) != 33 or key[0] != 1 or sha256(self.name.encode() + b"\n" + key)[:4] != self.hash:
            raise ValueError("it is no Ed25519 key, or its hash is wrong")
        self.key = key[1:]


def checkpoint(data, key):
    """The size and root that the log's key has signed."""
    try:
        text = data.decode("utf-8")
    except ValueError:
        raise Bad("checkpoint: it is not UTF-8")
    if any(c < " " and c != "\n" for c in text):
        raise Bad("checkpoint: it holds control characters")
    cut = text.rfind("\n\n")
    if cut < 0 or not text.endswith("\n") or len(text) == cut + 2:
        raise Bad("checkpoint: it is no signed note")
    body, lines = text[:cut + 1], text[cut + 2:-1].split("\n")
    if len(lines) > 100:
        raise Bad("checkpoint: too many signatures")
    good = False
    for line in lines:
        if not line.startswith("\u2014 "):
            raise Bad("checkpoint: a line is no signature")
        name, _, sig64 = line[2:].partition(" ")
        sig = b64(sig64)
        if not is_name(name) or len(sig) < 5:
            raise Bad("checkpoint: a line is no signature")
        if name == key.name and sig[:4] == key.hash and not good:
            if not ed_verify(key.key, body.encode(), sig[4:]):
                raise Bad("checkpoint: the signature is not by the log's key")
            good = True
    if not good:
        raise Bad("checkpoint: the log's key has not signed it")
    lines = body.split("\n")
    if len(lines) != 4 or lines[0] != key.name:
        raise Bad("checkpoint: it is of another log")
    if not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]) or int(lines[1]) >= 2**63:
        raise Bad("checkpoint: its size is no number")
    root = b64(lines[2])
    if len(root) != 32:
        raise Bad("checkpoint: its root is no hash")
    return int(lines[1]), root


def leaf_hash(content):
    leaf = b"stemma-entry/v1\n" + sha256(content).hex().encode() + b"\n"
    return sha256(b"\x00" + leaf)


def included(i, content, proof, size, root):
    if i >= size:
        raise Bad("entry %d is beyond the checkpoint, which is for %d entries" % (i, size))
    path, lo, hi = [], 0, size  # from the root down: is the proof's hash on the right?
    while hi - lo > 1:
        k = 1 << ((hi - lo - 1).bit_length() - 1)
        if i < lo + k:
            path.append(True)
            hi = lo + k
        else:
            path.append(False)
            lo += k
    h = leaf_hash(content)
    if len(proof) != len(path):
        raise Bad("entry %d is not in the log of the checkpoint" % i)
    for other, right in zip(proof, reversed(path)):
        h = sha256(b"\x01" + (h + other if right else other + h))
    if h != root:
        raise Bad("entry %d is not in the log of the checkpoint" % i)


# ---------------------------------------------------------------- the index: pruned tree and lists


def uvarint(n):
    return bytes([n]) if n < 0x80 else bytes([n & 0x7F | 0x80, n >> 7])


def bit_of(key, i):
    return key[i >> 3] >> (7 - (i & 7)) & 1


def first_diff(a, b):
    x = int.from_bytes(a, "big") ^ int.from_bytes(b, "big")
    return 256 - x.bit_length()


class Tree:
    """A pruned tree, read strictly: a node is ("leaf", key, value), ("hash", hash) or (bit, left, right)."""

    LINE = b"stemma-vindex/v1 proof\n"

    def __init__(self, data):
        if not data.startswith(self.LINE):
            raise Bad("index/proof: it does not begin with its version line")
        self.b, self.i = data, len(self.LINE)
        tag = self.take(1)[0]
        if tag == 0:
            self.node = None
        elif tag == 5:
            self.node = ("hash", self.take(32))
        else:
            self.i -= 1
            self.node = self.read(-1, [])[0]
        if self.i != len(data):
            raise Bad("index/proof: something stands after it")

    def take(self, n):
        out = self.b[self.i:self.i + n]
        if len(out) != n:
            raise Bad("index/proof: it is cut short")
        self.i += n
        return out

    def read(self, above, way):
        """Gives a node and the keys at its left and right edge, where they are known."""
        tag = self.take(1)[0]
        if tag == 1:
            key, value = self.take(32), self.take(32)
            if any(bit_of(key, b) != side for b, side in way):
                raise Bad("index/proof: a leaf does not stand where its key leads")
            return ("leaf", key, value), key, key
        if tag not in (2, 3, 4):
            raise Bad("index/proof: byte %d is no node" % tag)
        bit = self.take(1)[0]
        if bit <= above:
            raise Bad("index/proof: bits do not grow")
        if tag == 2:
            left, a, b = self.read(bit, way + [(bit, 0)])
            right, c, d = self.read(bit, way + [(bit, 1)])
            if b is not None and c is not None and first_diff(b, c) != bit:
                raise Bad("index/proof: two leaves part at another bit")
            return (bit, left, right), a, d
        other = ("hash", self.take(32))
        if tag == 3:
            left, a, b = self.read(bit, way + [(bit, 0)])
            return (bit, left, other), a, None
        right, c, d = self.read(bit, way + [(bit, 1)])
        return (bit, other, right), None, d

    def root(self, node=0):
        if node == 0:
            node = self.node
        if node is None:
            return sha256(b"")
        if node[0] == "hash":
            return node[1]
        if node[0] == "leaf":
            return sha256(b"\x00\x20" + node[1] + b"\x20" + node[2])
        return sha256(b"\x01" + uvarint(node[0]) + self.root(node[1]) + self.root(node[2]))

    def lookup(self, key):
        """The value of the key; None when it is absent. An error when the proof does not say."""
        node = self.node
        while node is not None and node[0] not in ("hash", "leaf"):
            node = node[1 + bit_of(key, node[0])]
        if node is None:
            return None
        if node[0] == "hash":
            raise LookupError
        return node[2] if node[1] == key else None


def key_of(relation, x):
    return sha256(b"stemma-vindex/v1\n" + relation.encode() + b"\x00" + x.encode())


def list_hash(entries):
    return sha256(b"stemma-vindex/v1 list\n" + b"".join(struct.pack(">Q", i) for i in entries) + struct.pack(">Q", len(entries)))


# ---------------------------------------------------------------- times: nanoseconds since 1970, UTC

BEGINNING, FOREVER = -2**63, 2**63 - 1
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d{1,2}):(\d\d):(\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)


def days_in(year, month):
    return calendar.monthrange(year, month)[1] if year > 0 else (29 if month == 2 else calendar.monthrange(4, month)[1])


def instant(s):
    """A time as a person or a statement writes it; None when it is none."""
    m = DATE.fullmatch(s)
    if m:
        s += "T00:00:00Z"
    m = TIME.fullmatch(s)
    if not m:
        return None
    year, month, day, hour, minute, second = (int(x) for x in m.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= days_in(year, month) and hour < 24 and minute < 60 and second < 60):
        return None
    off = 0
    if m.group(8):
        hh, mm = int(m.group(9)), int(m.group(10))
        if hh > 24 or mm > 60:
            return None
        off = (hh * 3600 + mm * 60) * (1 if m.group(8) == "+" else -1)
    y = year or 4  # calendar does not know the year 0; it is refused below in any case
    sec = calendar.timegm((y, month, day, hour, minute, second)) - off
    utc_year = time_year(sec)
    if year == 0 or not 1679 <= utc_year <= 2261:
        return "range"
    return sec * 10**9 + int(((m.group(7) or "") + "000000000")[:9])


def time_year(sec):
    import datetime
    return (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=sec)).year if -62135596800 <= sec < 253402300800 else 0


def written(t):
    """RFC 3339 in UTC with as many digits as are needed; empty for either end of time."""
    if t in (BEGINNING, FOREVER):
        return ""
    import datetime
    sec, ns = divmod(t, 10**9)
    s = (datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=sec)).strftime("%Y-%m-%dT%H:%M:%S")
    if ns:
        s += (".%09d" % ns).rstrip("0")
    return s + "Z"


# ---------------------------------------------------------------- Refs: (kind, namespace, name, version)

VERSIONED = set("dataset column featureset prompt model code image agent tool policy document file plan deployment credential secret".split())
KINDS = VERSIONED | set("pkg service env registry resource notice grant activity approval person team sa workload subagent role org".split())
DIGESTS = {"sha256": 64, "sha384": 96, "sha512": 128}
ZERO = ("", "", "", "")
OWN = re.compile(r"x-[a-z0-9-]+", re.ASCII)


def known(kind):
    return kind in KINDS or OWN.fullmatch(kind) is not None


def versioned(kind):
    return kind in VERSIONED or OWN.fullmatch(kind) is not None


def prints(c):
    return unicodedata.category(c)[0] in "LMNPS"


def escape(s, at):
    out = []
    for c in s:
        if not prints(c) or c == "%" or (at and c == "@"):
            out.append("".join("%%%02X" % b for b in c.encode("utf-8", "surrogateescape")))
        else:
            out.append(c)
    return "".join(out)


def unescape(s):
    if "%" not in s:
        return s
    out, b, i = bytearray(), s.encode("utf-8", "surrogateescape"), 0
    while i < len(b):
        if b[i] != 0x25:
            out.append(b[i])
            i += 1
            continue
        if not re.fullmatch(b"[0-9a-fA-F]{2}", b[i + 1:i + 3]):
            raise Unread("'%' must be followed by two hexadecimal digits")
        out.append(int(b[i + 1:i + 3], 16))
        i += 3
    return bytes(out).decode("utf-8", "surrogateescape")  # bytes that are no UTF-8 stay what they are


def parse(s):
    kind, colon, rest = s.partition(":")
    if not colon or not rest:
        raise Unread("not a Ref: %r" % s)
    if kind in DIGESTS:
        if not re.fullmatch("[0-9a-f]{%d}" % DIGESTS[kind], rest):
            raise Unread("not a digest: %r" % s)
        return (kind, "", rest, "")
    if not known(kind):
        raise Unread("kind %r is not known" % kind)
    name, version = rest, ""
    if versioned(kind) and "@" in rest:
        name, _, version = rest.rpartition("@")
        if not version:
            raise Unread("%r ends with '@'" % s)
    name, version = unescape(name), unescape(version)
    if not name:
        raise Unread("%r has no name" % s)
    return (kind, "", name, version)


def text(r):
    v = versioned(r[0])
    s = r[0] + ":" + (escape(r[1], v) + "/" if r[1] else "") + escape(r[2], v)
    return s + ("@" + escape(r[3], True) if r[3] else "")


def key(r):
    """Text that is different for different Refs."""
    if not r[1]:
        return text(r)
    v = versioned(r[0])
    return r[0] + ":" + escape(r[1], v) + "\x1f" + escape(r[2], v) + ("@" + escape(r[3], True) if r[3] else "")


def parse_ref(s):
    n = len(s.encode("utf-8"))
    if n > 4096:
        raise Unread("a Ref is too long")
    r = parse(s)
    if 3 * n > 4096 and len(text(r).encode("utf-8", "surrogateescape")) > 4096:
        raise Unread("a Ref is too long")
    return r


def parse_key(k):
    ns, sep, rest = k.partition("\x1f")
    if not sep:
        return parse(k)
    kind, _, ns = ns.partition(":")
    r = parse(kind + ":" + rest)
    return (r[0], unescape(ns), r[2], r[3])


def in_namespace(r, ns):
    if not ns:
        return r
    if not r[2].startswith(ns + "/") or len(r[2]) == len(ns) + 1:
        raise Unread("%s does not begin with its namespace" % text(r))
    return (r[0], ns, r[2][len(ns) + 1:], r[3])


def with_version(r, v):
    return (r[0], r[1], r[2], v)


def column_of(d, field):
    def esc(s):
        return s.replace("%", "%25").replace("#", "%23")
    return ("column", d[1], esc(d[2]) + "#" + esc(field), d[3])


def split_column(r):
    """The dataset and the field of a column, or None."""
    if r[0] != "column" or "#" not in r[2]:
        return None
    name, _, field = r[2].partition("#")
    try:
        n, f = unescape(name), unescape(field)
    except Unread:
        return None
    return (("dataset", r[1], n, r[3]), f) if n else None


def series_of(k):
    """The key of the series of a version; empty for what is none."""
    r = parse_key(k)
    return key(with_version(r, "")) if r[3] else ""


def is_series(k):
    r = parse_key(k)
    return r[0] not in DIGESTS and not r[3] and versioned(r[0])


def kind_of(k):
    return parse_key(k)[0]


def thing_of(k):
    r = parse_key(k)
    return (text(r), r[1])


def display(k):
    return text(parse_key(k))


# ---------------------------------------------------------------- statements: shapes and checks

def obj(**fields):
    return ("obj", fields)


def many(spec):
    return ("list", spec)


def maybe(spec):
    return ("maybe", spec)


def table(spec):
    return ("map", spec)


DIGEST = table("str")
RESOURCE = obj(ref="str", namespace="str", digest=DIGEST)
USE = obj(ref="str", namespace="str", digest=DIGEST, role="str", at="time", rule="str")
PARTY = obj(ref="str", role="str")
INPUT = obj(ref="str", namespace="str", digest=DIGEST, transformation="str")
DERIVED = obj(to=RESOURCE, rule="str")
DERIVED[1]["from"] = many(INPUT)
EVIDENCE = obj(digest=DIGEST, mediaType="str", size="int", name="str", importer="str", importerVersion="str", redacted=many("str"), notes=many("str"),
               verified=maybe(obj(by="str", identity="str", result="str", reason="str")))
SUBJECT = obj(name="str", digest=DIGEST, annotations=table("str"))
GRANT = obj(resource="str", scope=many("str"), until="time", deny="bool", notScope=many("str"), notResource=many("str"), condition="str", via="str")
GRANT[1]["from"] = "time"
ROLE = obj(role="str", until="time")
ROLE[1]["from"] = "time"
CREDENTIAL = obj(ref="str", kind="str", state="str", issuedAt="time", expiresAt="time", rotatedAt="time", lastUsedAt="time", neverExpires="bool",
                 scope=many("str"), storedIn="str", attributes=table("str"))
ITEM = obj(ref="str", state="str", owner="str", human="str", createdAt="time", lastUsedAt="time", memberOf=many("str"), canAssume=many("str"),
           runsAs=many("str"), secrets=many("str"), roles=many(ROLE), grants=many(GRANT), credentials=many(CREDENTIAL),
           trust=many(obj(principal="str", condition="str", deny="bool")), attributes=table("str"))
BASE = "https://stemma.dev/"
VSA = "https://slsa.dev/verification_summary/v1"
PREDICATES = {
    BASE + "activity/v1": obj(kind="str", id="str", namespace="str", startedAt="time", endedAt="time", observedAt="time", state="str", plan=maybe(RESOURCE),
                              informedBy=many(RESOURCE), used=many(USE), derived=many(DERIVED), identities=many(PARTY), onBehalfOf=many(PARTY),
                              credentials=many(RESOURCE), tools=many(RESOURCE), parameters=table("str"), environment=table("str"), inputsCompleteness="str",
                              rule="str", evidence=many(EVIDENCE)),
    BASE + "entity/v1": obj(state="str", at="time", owner="str", origin="str", licence="str", sensitivity="str", description="str", sameAs=many(RESOURCE),
                            partOf=many(RESOURCE), derived=many(DERIVED), attributes=table("str"), evidence=many(EVIDENCE)),
    BASE + "approval/v1": obj(decision="str", id="str", approver="str", review="str", role="str", environments=many("str"), decidedAt="time", validFrom="time",
                              validUntil="time", policy=DIGEST, supersedes="str", revokes="str", log="str", text="str", assurance="str", credential="str",
                              evidence=many(EVIDENCE), controls=many("str"), comment="str"),
    BASE + "deployment/v1": obj(action="str", id="str", environment="str", service="str", at="time", supersedes="str", restores="str", runsAs=many("str"),
                                credentials=many(RESOURCE), secrets=many(RESOURCE), tools=many(RESOURCE), prompts=many(RESOURCE), policyBundle=maybe(RESOURCE),
                                identities=many(PARTY), reason="str", evidence=many(EVIDENCE)),
    BASE + "registry/v1": obj(mode="str", registry="str", name="str", namespace="str", alias="str", stage="bool", aliases=table(RESOURCE), removed="bool",
                              previous=maybe(RESOURCE), at="time", identities=many(PARTY), reason="str", evidence=many(EVIDENCE)),
    BASE + "identity/v1": obj(mode="str", source="str", at="time", grade="str", items=many(ITEM), evidence=many(EVIDENCE)),
    BASE + "delegation/v1": obj(parent="str", child="str", onBehalfOf="str", scope=many("str"), issuedAt="time", expiresAt="time", credential="str",
                                chain=many("str"), actingAs="str", grade="str", evidence=many(EVIDENCE)),
    BASE + "notice/v1": obj(kind="str", id="str", since="time", until="time", severity="str", source="str", description="str", at="time", evidence=many(EVIDENCE)),
    BASE + "policy/v1": obj(name="str", text="str", environments=many("str"), at="time", evidence=many(EVIDENCE)),
    BASE + "waiver/v1": obj(rule="str", scope=many("str"), reason="str", until="time", at="time", evidence=many(EVIDENCE)),
    BASE + "retraction/v1": obj(entry="uint", reason="str", replacement=maybe("uint"), at="time", evidence=many(EVIDENCE)),
    BASE + "erasure/v1": obj(entries=many(obj(entry="uint", content="str", envelope="str", recordedAt="str", recordedBy="str", keys=many("str"), keep="any")),
                             blobs=many("str"), rule="str", reason="str", legalBasis="str", requestedBy="str", role="str", at="time", evidence=many(EVIDENCE)),
    BASE + "hold/v1": obj(state="str", id="str", all="bool", entries=many("uint"), refs=many("str"), blobs=many("str"), reason="str", role="str", at="time",
                          evidence=many(EVIDENCE)),
    BASE + "log/v1": obj(state="str", origin="str", predecessor=maybe(obj(origin="str", size="uint", root="str", key="str", checkpoint="str")), reason="str",
                         at="time", evidence=many(EVIDENCE)),
    BASE + "index/v1": obj(version="str", size="uint", root="str", keys="uint"),
    VSA: obj(verifier="any", timeVerified="time", resourceUri="str", policy="any", verificationResult="str", verifiedLevels=many("str"), stemma="any",
             evidence=many(EVIDENCE)),
}
EMPTY = {"str": "", "int": 0, "uint": 0, "bool": False, "time": None, "any": None}


def shape(v, spec):
    """A JSON value of a known form, with all fields that it may have. A time becomes an instant, None when it is not given."""
    if spec == "time":
        t = instant(v) if isinstance(v, str) else None
        if t is None or t == "range":
            raise Unread("a time cannot be read")
        return t
    if spec == "any":
        return v
    if v is None:
        return shape_empty(spec)
    if isinstance(spec, str):
        want = {"str": str, "int": int, "uint": int, "bool": bool}[spec]
        if not isinstance(v, want) or (want is int and isinstance(v, bool)):
            raise Unread("a value has another type")
        if spec == "uint" and not 0 <= v < 2**64 or spec == "int" and not -2**63 <= v < 2**63:
            raise Unread("a number is out of range")
        return v
    if spec[0] == "maybe":
        return shape(v, spec[1])
    if spec[0] == "list":
        if not isinstance(v, list):
            raise Unread("a value is no list")
        return [shape(x, spec[1]) for x in v]
    if not isinstance(v, dict):
        raise Unread("a value is no object")
    if spec[0] == "map":
        return {k: shape(x, spec[1]) for k, x in v.items()}
    return {k: shape(v[k], s) if k in v else shape_empty(s) for k, s in spec[1].items()}


def shape_empty(spec):
    if isinstance(spec, str):
        return EMPTY[spec]
    return {"maybe": None, "list": [], "map": {}}[spec[0]] if spec[0] != "obj" else {k: shape_empty(s) for k, s in spec[1].items()}


def check_digest(d):
    for alg, h in d.items():
        if alg in DIGESTS or alg == "stemmaRef":
            if not re.fullmatch("[0-9a-f]{%d}" % DIGESTS.get(alg, 64), h):
                raise Unread("digest %s" % alg)
        elif not 1 <= len(h.encode("utf-8")) <= 512:
            raise Unread("digest %s" % alg)


def content_of(d):
    for alg in ("sha256", "sha512", "sha384"):
        if d.get(alg):
            return (alg, "", d[alg], "")
    return ZERO


def target(name, namespace="", digest={}):
    """The Ref and the digest that a resource gives; either may be ZERO."""
    check_digest(digest)
    d = content_of(digest)
    if name == "":
        if d == ZERO:
            raise Unread("neither a ref nor a digest")
        return ZERO, d
    r = in_namespace(parse_ref(name), namespace)
    if r[0] in DIGESTS:
        if d != ZERO and d[0] == r[0] and d != r:
            raise Unread("ref and digest differ")
        return ZERO, r if d == ZERO else d
    return r, d


def resource(x):
    return target(x["ref"], x["namespace"], x["digest"])


def subject(x):
    r, d = target(x["name"], x["annotations"].get("namespace", ""), x["digest"])
    want = x["digest"].get("stemmaRef", "")
    if want and (r == ZERO or want != hashlib.sha256(key(r).encode("utf-8", "surrogateescape")).hexdigest()):
        raise Unread("stemmaRef is not that of the name")
    return r, d


def need(ok, what="a field is missing or wrong"):
    if not ok:
        raise Unread(what)


def order(a, b):
    need(a is None or b is None or b >= a, "a period ends before it begins")


def of_kind(ref, kind):
    need(target(ref)[0][0] == kind, "%r is no %s" % (ref, kind))


def resources(xs):
    for x in xs:
        resource(x)


def parties(xs):
    for x in xs:
        target(x["ref"])


def is_sha256(x):
    return re.fullmatch("[0-9a-f]{64}", x) is not None


def ascends(xs):
    return all(a < b for a, b in zip(xs, xs[1:]))


def check_erasure(p):
    need(p["entries"] or p["blobs"])
    need(p["reason"] and p["legalBasis"] and p["role"] and p["rule"] == "core/v1")
    need(ascends([e["entry"] for e in p["entries"]]) and ascends(p["blobs"]) and all(is_sha256(b) for b in p["blobs"]))
    for e in p["entries"]:
        need(is_sha256(e["content"]) and is_sha256(e["envelope"]))
        need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", e["recordedAt"], re.ASCII) and isinstance(instant(e["recordedAt"]), int))
        need(ascends(e["keys"]) and all(is_sha256(k) for k in e["keys"]))
        if e["keep"] is not None:
            kept = json.dumps(e["keep"], ensure_ascii=False).encode("utf-8")
            need(e["keep"].get("predicateType") not in (BASE + "erasure/v1", BASE + "hold/v1", BASE + "log/v1"))
            read_statement(kept)


def check(typ, p):
    """The checks of each predicate; Unread when one fails."""
    name = typ[len(BASE):-3] if typ != VSA else "vsa"
    if name == "activity":
        need(p["kind"])
        need(target(p["id"], p["namespace"])[0][0] == "activity")
        order(p["startedAt"], p["endedAt"])
        need(p["state"] in ("", "started", "running", "completed", "failed", "aborted", "other"))
        if p["plan"] is not None:
            resource(p["plan"])
        for k in ("informedBy", "used", "credentials", "tools"):
            resources(p[k])
        for d in p["derived"]:
            resource(d["to"])
            resources(d["from"])
            need(d["rule"] in ("stated", "lineage-facet", "column-lineage", "design-time"))
        parties(p["identities"])
        parties(p["onBehalfOf"])
        need(p["inputsCompleteness"] in ("", "enforced", "observed", "declared", "best-effort"))
    elif name == "entity":
        need(p["state"] in ("registered", "described", "labelled", "owned", "retired", "same-as"))
        need(p["state"] != "owned" or p["owner"])
        need(p["state"] != "same-as" or p["sameAs"])
        if p["owner"]:
            target(p["owner"])
        resources(p["sameAs"])
        resources(p["partOf"])
        for d in p["derived"]:
            resource(d["to"])
            resources(d["from"])
    elif name == "approval":
        need(p["decision"] in ("approve", "reject", "revoke", "request") and p["review"])
        target(p["approver"])
        if p["id"]:
            target(p["id"])
        for k in ("supersedes", "revokes"):
            if p[k]:
                of_kind(p[k], "approval")
        need(not p["revokes"] or p["decision"] == "revoke")
        if p["credential"]:
            of_kind(p["credential"], "credential")
        need(p["assurance"] in ("", "passkey", "hardware-key", "local-key", "oidc-session"))
        order(p["validFrom"], p["validUntil"])
        check_digest(p["policy"])
    elif name == "deployment":
        need(p["action"] in ("deploy", "rollback", "retire"))
        of_kind(p["environment"], "env")
        of_kind(p["service"], "service")
        for k in ("id", "supersedes", "restores"):
            if p[k]:
                of_kind(p[k], "deployment")
        need(p["action"] != "rollback" or p["restores"])
        for x in p["runsAs"]:
            target(x)
        for k in ("credentials", "secrets", "tools", "prompts"):
            resources(p[k])
        if p["policyBundle"] is not None:
            resource(p["policyBundle"])
        parties(p["identities"])
    elif name == "registry":
        need(p["registry"])
        if p["mode"] == "snapshot":
            need(not p["alias"] and not p["stage"] and not p["removed"])
            resources(p["aliases"].values())
        else:
            need(p["mode"] == "" and p["alias"] and not p["aliases"])
        target(p["name"], p["namespace"])
        if p["previous"] is not None:
            resource(p["previous"])
        parties(p["identities"])
    elif name == "identity":
        need(p["mode"] in ("event", "snapshot") and (p["mode"] == "event" or p["source"]))
        need(p["grade"] in ("", "observed", "declared", "self-reported"))
        for it in p["items"]:
            target(it["ref"])
            need(it["state"] in ("", "active", "inactive", "retired") and it["human"] in ("", "yes", "no"))
            for x in ([it["owner"]] if it["owner"] else []) + it["memberOf"] + it["canAssume"] + it["runsAs"] + it["secrets"]:
                target(x)
            for c in it["credentials"]:
                target(c["ref"])
                order(c["issuedAt"], c["expiresAt"])
                need(c["state"] in ("", "active", "inactive", "expired", "revoked"))
                if c["storedIn"]:
                    target(c["storedIn"])
            for r in it["roles"]:
                of_kind(r["role"], "role")
                order(r["from"], r["until"])
            for g in it["grants"]:
                target(g["resource"])
                order(g["from"], g["until"])
            for x in it["trust"]:
                target(x["principal"])
    elif name == "delegation":
        target(p["parent"])
        target(p["child"])
        for x in [p["onBehalfOf"], p["credential"], p["actingAs"]] + p["chain"]:
            if x:
                target(x)
        order(p["issuedAt"], p["expiresAt"])
        need(p["grade"] in ("issuer", "resource-side", "self-reported"))
    elif name == "notice":
        need(p["kind"] in ("compromised", "vulnerable", "leaked", "withdrawn", "out-of-validation"))
        if p["id"]:
            of_kind(p["id"], "notice")
        need(p["severity"] in ("", "low", "medium", "high", "critical"))
        order(p["since"], p["until"])
    elif name == "policy":
        need(p["name"] and p["text"])
    elif name == "waiver":
        need(p["rule"] and p["reason"] and p["until"] is not None)
    elif name == "retraction":
        need(p["reason"])
    elif name == "erasure":
        check_erasure(p)
    elif name == "hold":
        need(p["state"] in ("set", "lift") and p["reason"] and p["role"])
        need(re.fullmatch("[A-Za-z0-9._-]{1,100}", p["id"]))
        scope = len(p["entries"]) + len(p["refs"]) + len(p["blobs"])
        need(not p["all"] and not scope if p["state"] == "lift" else p["all"] == (scope == 0))
        for x in p["refs"]:
            target(x)
        for x in p["blobs"]:
            need(is_sha256(x))
    elif name == "log":
        need(p["state"] in ("closed", "opened") and p["origin"])
        x = p["predecessor"]
        need((x is None) == (p["state"] == "closed"))
        need(x is None or x["origin"] and x["key"] and x["checkpoint"] and is_sha256(x["root"]))
    elif name == "index":
        need(p["version"] and re.fullmatch("[0-9a-f]{64}", p["root"]))
    else:
        need(p["verificationResult"] in ("PASSED", "FAILED"))
    for e in p.get("evidence", []):
        need(e["digest"])
        check_digest(e["digest"])
        need(e["verified"] is None or e["verified"]["result"] in ("verified", "failed", "unverified", "unsigned"))


def read_statement(payload):
    """The subjects, the predicate's type and the predicate; None for one that is not understood."""
    need(len(payload) <= 8 << 20)
    try:
        v = load(payload)
    except Bad as e:
        raise Unread(str(e))
    need(isinstance(v, dict))
    s = shape(v, obj(_type="str", subject=many(SUBJECT), predicateType="str", predicate="any"))
    need(s["_type"] == "https://in-toto.io/Statement/v1")
    typ = s["predicateType"]
    p = None
    if typ in PREDICATES:
        need("predicate" in v)
        p = shape(s["predicate"], PREDICATES[typ])
    need(typ and s["subject"])
    for x in s["subject"]:
        need(x["digest"])
        if p is not None and typ != VSA:
            subject(x)
    if p is not None:
        check(typ, p)
    return s["subject"], typ, p


def read_envelope(data):
    try:
        v = load(data)
    except Bad as e:
        raise Unread(str(e))
    need(isinstance(v, dict) and len(data) <= 16 << 20)
    for k in v:
        for name in ("payloadType", "payload", "signatures"):
            need(k == name or k.casefold() != name.casefold())
    e = shape(v, obj(payloadType=maybe("str"), payload=maybe("str"), signatures=maybe(many(obj(keyid="str", sig=maybe("str"))))))
    need(e["payloadType"] and len(e["payloadType"].encode()) <= 1024 and e["payload"] is not None and e["signatures"] is not None and len(e["signatures"]) <= 64)
    for raw, s in zip(v["signatures"], e["signatures"]):
        for k in raw or {}:
            for name in ("keyid", "sig"):
                need(k == name or k.casefold() != name.casefold())
        need(s["sig"] is not None and 1 <= len(any64(s["sig"])) <= 64 << 10 and len(s["keyid"].encode()) <= 1024)
    payload = any64(e["payload"])
    need(e["payloadType"] == "application/vnd.in-toto+json")
    return payload, [any64(s["sig"]) for s in e["signatures"]]


def signed_by(payload, sigs, key):
    """Tells whether one of the signatures is by the key, over the DSSE pre-authentication encoding."""
    return any(ed_verify(key, b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload), s) for s in sigs)


def any64(s):
    """Base64 of either alphabet, in its one form."""
    try:
        return b64(s.replace("-", "+").replace("_", "/") if ("-" in s or "_" in s) and "+" not in s and "/" not in s else s)
    except (Bad, UnicodeError):
        raise Unread("base64 cannot be read")


# ---------------------------------------------------------------- what one entry says

FIXED, READ, WROTE = 0, 1, 2
LINEAGE = {"Used", "GeneratedBy", "GeneratedByStated", "DerivedFrom", "SameAs", "HadPlan", "AssociatedWith", "ActedOnBehalfOf", "Deployed", "RunsAs",
           "AuthenticatesWith", "CallsTool", "UsesPrompt", "GovernedBy", "ReadsSecret"}
NO_BYTES = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Tie:
    def __init__(self, typ, frm, to, floating=False, clock=FIXED, at=BEGINNING, act="", named=False, undated=False):
        self.type, self.frm, self.to, self.floating, self.clock, self.at, self.act = typ, frm, to, floating, clock, at, act
        self.named, self.undated, self.retires, self.lasting = named, undated, False, False


def label(t):
    """The versioned name of a target: the digest is the version where none is given."""
    r, d = t
    return with_version(r, text(d)) if not r[3] and versioned(r[0]) and d != ZERO else r


def version_name(act):
    return act[1] + "/" + act[2] if act[1] else act[2]


class Reading:
    """What one entry says, taken apart into ties between things."""

    def __init__(self, i, content):
        self.i = i
        self.parse(content)
        self.type, self.unread, self.ties, self.writes, self.placed, self.claim, self.says = "", "", [], [], None, None, None
        self.about, self.names, self.retracts, self.reused, self.index = set(), set(), None, False, None
        self.digest = sha256(self.envelope)
        try:
            self.payload, self.sigs = read_envelope(self.envelope)
            self.subjects, self.type, p = read_statement(self.payload)
        except Unread:
            self.unread = "it cannot be read"
            return
        if p is None:
            self.unread = "its predicate type is not understood: " + self.type
            return
        self.id = self.digest[:8].hex()
        name = self.type[len(BASE):-3] if self.type != VSA else "vsa"
        getattr(self, "read_" + name)(p)

    def parse(self, content):
        m = re.fullmatch(rb'\{"recordedAt":"(.*?)","recordedBy":(.*?),"envelope":(.*)\}', content, re.DOTALL)
        bad = Bad("entry %d: it has not the one form that an entry has" % self.i)
        if not m or not m.group(3).startswith(b"{") or not m.group(3).endswith(b"}"):
            raise bad
        at, by, self.envelope = m.group(1).decode("ascii", "replace"), m.group(2), m.group(3)
        t = instant(at)
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", at, re.ASCII) or not isinstance(t, int):
            raise bad
        self.recorded = t
        try:
            self.by = json.loads(by.decode("utf-8"))
        except ValueError:
            raise bad
        if not isinstance(self.by, str):
            raise bad
        again = json.dumps(self.by, ensure_ascii=False)
        for c in "<>&\u2028\u2029":
            again = again.replace(c, "\\u%04x" % ord(c))
        if again.encode("utf-8", "replace") != by:
            raise bad

    # building blocks

    def place(self, t):
        """The thing that a target names, and whether it is a series; ties the name to the digest."""
        r, d = t
        if d == ZERO:
            self.names.add(key(r))
            return key(r), not r[3] and versioned(r[0])
        if d[2] == NO_BYTES and r != ZERO:
            self.names.add(key(label(t)))
            return key(label(t)), False
        self.names.add(key(d))
        if r != ZERO:
            self.names.add(key(label(t)))
            self.ties.append(Tie("SameAs", key(label(t)), key(d), named=True))
        return key(d), False

    def fix(self, typ, frm, to, at, undated=False):
        self.ties.append(Tie(typ, frm, to, at=at, undated=undated))

    def tie(self, typ, frm, t, at, undated):
        to, floating = self.place(t)
        self.ties.append(Tie(typ, frm, to, floating, at=at, undated=undated))

    def own(self, r):
        self.names.add(key(r))
        self.about.add(key(r))
        return key(r)

    def subject_keys(self):
        out = []
        for s in self.subjects:
            k = self.place(subject(s))[0]
            self.about.add(k)
            out.append(k)
        return out

    def when(self, t):
        return (self.recorded, True) if t is None else (t, False)

    def fix_undated(self, undated):
        for t in self.ties:
            if t.type != "SameAs":
                t.undated = undated

    def lasting(self):
        for t in self.ties:
            t.lasting = t.type != "SameAs"

    def named(self, s):
        return self.place(target(s))[0]

    # the statements

    def read_activity(self, p):
        ref = target(p["id"], p["namespace"])[0]
        act = self.own(ref)
        begin = [BEGINNING if p[k] is None else p[k] for k in ("startedAt", "endedAt", "observedAt")]
        self.claim = (act, begin[0], begin[1], begin[2], p["state"], p["inputsCompleteness"])

        def read(typ, t, at=None):
            to, floating = self.place(t)
            self.ties.append(Tie(typ, act, to, floating, READ, BEGINNING if at is None else at, act))
        for u in p["used"]:
            read("Used", resource(u), u["at"])
        self.outputs(act, ref, p)
        if p["plan"] is not None:
            read("HadPlan", resource(p["plan"]))
        for x in p["informedBy"]:
            read("InformedBy", resource(x))
        for x in p["identities"]:
            read("AssociatedWith", target(x["ref"]))
        for x in p["onBehalfOf"]:
            read("ActedOnBehalfOf", target(x["ref"]))
        for x in p["credentials"]:
            read("AuthenticatesWith", resource(x))
        for x in p["tools"]:
            read("CallsTool", resource(x))

    def outputs(self, act, ref, p):
        stated, outs, made = set(), [], {}

        def add(t):
            if t not in outs and t[0] != ref:
                outs.append(t)
        for s in self.subjects:
            add(subject(s))
        for d in p["derived"]:
            t = resource(d["to"])
            if t[0][0] != "column":
                stated.add(t)
                add(t)
        for t in outs:
            made[t] = self.output(act, ref, t, "GeneratedByStated" if t in stated else "GeneratedBy")
        for d in p["derived"]:
            t = resource(d["to"])
            frm = made[t] if t in made else self.column(act, ref, t[0], made)
            for x in d["from"]:
                to, floating = self.place(resource(x))
                self.ties.append(Tie("DerivedFrom", frm, to, floating, READ, act=act))

    def output(self, act, ref, t, typ):
        k, floating = self.place(t)
        version = ZERO
        if floating:
            version = with_version(t[0], version_name(ref))
            k = key(version)
            self.names.add(k)
        elif t[0] != ZERO:
            version = label(t)
        self.about.add(k)
        self.ties.append(Tie(typ, k, act, clock=WROTE, act=act))
        if version[3]:
            self.writes.append((key(version), act, 0))
        return k

    def column(self, act, ref, c, made):
        whole = split_column(c)
        if not c[3] and whole:
            c = with_version(c, version_name(ref))
        self.names.add(key(c))
        if whole and (whole[0], ZERO) in made:
            self.ties.append(Tie("PartOf", key(c), made[(whole[0], ZERO)], clock=WROTE, act=act))
        return key(c)

    def read_entity(self, p):
        at, undated = self.when(p["at"])
        for s, k in zip(self.subjects, self.subject_keys()):
            t = subject(s)
            if p["state"] == "registered" and t[0] != ZERO and label(t)[3]:
                self.names.add(key(label(t)))
                self.writes.append((key(label(t)), "", at))
            if p["owner"]:
                self.fix("OwnedBy", k, self.named(p["owner"]), at)
            for x in p["partOf"]:
                self.tie("PartOf", k, resource(x), at, undated)
            for x in p["sameAs"]:
                o = self.place(resource(x))[0]
                if o != k:
                    self.fix("SameAs", k, o, BEGINNING)
        for d in p["derived"]:
            frm = self.place(resource(d["to"]))[0]
            for x in d["from"]:
                self.fix("DerivedFrom", frm, self.place(resource(x))[0], at, undated)

    def read_approval(self, p):
        at, undated = self.when(p["decidedAt"])
        k = self.own(target(p["id"])[0] if p["id"] else ("approval", "", self.id, ""))
        self.fix("AssociatedWith", k, self.named(p["approver"]), at)
        for e in p["evidence"]:
            d = content_of(e["digest"])
            if not e["importer"] and d != ZERO:
                self.names.add(key(d))
                self.fix("Used", k, key(d), at)
        if p["credential"]:
            self.fix("AuthenticatesWith", k, self.named(p["credential"]), at)
        if p["supersedes"]:
            self.fix("Supersedes", k, self.named(p["supersedes"]), at)
        self.fix_undated(undated)
        self.says = (k, p, at, undated, [self.place(subject(s))[0] for s in self.subjects])

    def read_deployment(self, p):
        at, undated = self.when(p["at"])
        env, svc = target(p["environment"])[0], target(p["service"])[0]
        ref = ("deployment", "", env[2] + "/" + svc[2], written(at))
        if p["id"]:
            ref = target(p["id"])[0]
        else:
            self.reused = undated
        k = self.own(ref)
        self.placed = (k, key(env) + " " + key(svc), at)
        if p["action"] != "retire":
            self.names |= {key(env), key(svc)}
            self.fix("DeployedTo", k, key(env), at)
            self.fix("DeployedTo", k, key(svc), at)
            if ref[3]:
                self.writes.append((k, "", at))
        for s in self.subjects:
            self.tie("Deployed", k, subject(s), at, undated)
        for x in p["runsAs"]:
            self.tie("RunsAs", k, target(x), at, undated)
        for field, typ in (("credentials", "AuthenticatesWith"), ("secrets", "ReadsSecret"), ("tools", "CallsTool"), ("prompts", "UsesPrompt")):
            for x in p[field]:
                self.tie(typ, k, resource(x), at, undated)
        if p["policyBundle"] is not None:
            self.tie("GovernedBy", k, resource(p["policyBundle"]), at, undated)
        for x in p["identities"]:
            self.tie("AssociatedWith", k, target(x["ref"]), at, undated)
        for field, typ in (("supersedes", "Supersedes"), ("restores", "Restores")):
            if p[field]:
                self.tie(typ, k, target(p[field]), at, undated)
        for t in self.ties:
            t.retires = p["action"] == "retire" and t.type != "SameAs"

    def read_registry(self, p):
        at, undated = self.when(p["at"])
        series = target(p["name"], p["namespace"])[0]

        def names(to, alias):
            k = self.own(("registry", "", p["registry"] + "/" + text(series) + "#" + alias, ""))
            self.fix("NamedBy", to, k, at)
            if versioned(series[0]) and not series[3] and alias:
                self.fix("NamedBy", to, key(with_version(series, alias)), at)
            for x in p["identities"]:
                self.tie("AssociatedWith", k, target(x["ref"]), at, undated)
        about = self.subject_keys()
        if p["mode"] == "snapshot":
            for alias in sorted(p["aliases"], key=lambda s: s.encode()):
                names(self.place(resource(p["aliases"][alias]))[0], alias)
            return
        for s in about:
            names(s, p["alias"])

    def read_identity(self, p):
        at, undated = self.when(p["at"])
        self.subject_keys()
        for it in p["items"]:
            k = self.named(it["ref"])
            self.about.add(k)
            if it["owner"]:
                self.fix("OwnedBy", k, self.named(it["owner"]), at)
            for field, typ in (("memberOf", "MemberOf"), ("canAssume", "CanAssume"), ("runsAs", "RunsAs"), ("secrets", "ReadsSecret")):
                for x in it[field]:
                    self.fix(typ, k, self.named(x), at)
            for x in it["roles"]:
                self.fix("MemberOf", k, self.named(x["role"]), at if x["from"] is None else x["from"])
            for c in it["credentials"]:
                self.credential(k, c, at)
            for n, g in enumerate(it["grants"]):
                grant = key(("grant", "", "%s/%s/%d" % (self.id, it["ref"], n), ""))
                since = at if g["from"] is None else g["from"]
                if not g["deny"]:
                    self.fix("Granted", k, grant, since)
                self.fix("GrantsOn", grant, self.named(g["resource"]), since)
            for x in it["trust"]:
                if not x["deny"]:
                    self.fix("CanAssume", self.named(x["principal"]), k, at)
        self.fix_undated(undated)
        self.lasting()

    def credential(self, k, c, at):
        cred = self.named(c["ref"])
        self.about.add(cred)
        since, until = at if c["issuedAt"] is None else c["issuedAt"], FOREVER if c["expiresAt"] is None else c["expiresAt"]
        if c["state"] in ("expired", "revoked"):
            until = min(until, at)
        if since < until:
            self.fix("AuthenticatesWith", k, cred, since)

    def read_delegation(self, p):
        self.subject_keys()
        at, undated = self.when(p["issuedAt"])
        child, parent = self.named(p["child"]), self.named(p["parent"])
        self.fix("DelegatedTo", parent, child, at)
        self.fix("ActedOnBehalfOf", child, parent, at)
        if p["onBehalfOf"] and p["onBehalfOf"] != p["parent"]:
            self.fix("ActedOnBehalfOf", child, self.named(p["onBehalfOf"]), at)
        if p["credential"]:
            self.fix("AuthenticatesWith", child, self.named(p["credential"]), at)
        if p["actingAs"] and p["actingAs"] != p["child"]:
            self.fix("RunsAs", child, self.named(p["actingAs"]), at)
        self.fix_undated(undated)
        self.lasting()

    def read_notice(self, p):
        k = self.own(target(p["id"])[0] if p["id"] else ("notice", "", self.id, ""))
        for s in self.subject_keys():
            self.fix("SubjectOf", s, k, BEGINNING if p["since"] is None else p["since"])

    def read_policy(self, p):
        at, _ = self.when(p["at"])
        self.subject_keys()
        for s in self.subjects:
            name = label(subject(s))
            if name[3]:
                self.names.add(key(name))
                self.writes.append((key(name), "", at))

    def read_waiver(self, p):
        self.subject_keys()

    read_erasure = read_hold = read_log = read_waiver

    def read_vsa(self, p):
        for s in self.subjects:
            try:
                t = subject(s)
            except Unread:
                continue
            self.about.add(self.place(t)[0])

    def read_retraction(self, p):
        self.retracts = p["entry"]

    def read_index(self, p):
        self.index = p

    def keys(self):
        """The lists that the entry stands in."""
        if self.unread:
            return {("unreadable", "")}
        out = set()
        for t in self.ties:
            if t.type in ("SameAs", "PartOf", "NamedBy"):
                out |= {("tied-to", t.frm), ("tied-to", t.to)}
            else:
                out.add(("about", t.frm))
                if t.type not in ("GeneratedBy", "GeneratedByStated"):
                    out.add(("used-by", t.to))
        out |= {("about", x) for x in self.about}
        out |= {("writes", series_of(w[0])) for w in self.writes}
        out |= {("versions", series_of(x)) for x in self.names if series_of(x)}
        if self.says:
            out |= {("decided-by", x) for x in self.says[4]}
            for field in ("revokes", "supersedes"):
                if self.says[1][field]:
                    out.add(("revoked-by", key(target(self.says[1][field])[0])))
        if self.placed:
            out.add(("deployed-to", self.placed[1]))
        if self.retracts is not None:
            out.add(("retracted-by", str(self.retracts)))
        if self.reused:
            out.add(("copied-by", self.digest.hex()))
        return out


# ---------------------------------------------------------------- the walk

CLASSES = ["enforced", "observed", "declared", "best-effort", "unstated"]


def rank(c):
    return CLASSES.index(c) if c in CLASSES else len(CLASSES) - 1


class Clock:
    pass


class Version:
    def __init__(self, k):
        self.key, self.at, self.writers, self.failed = k, FOREVER, [], False


class Group:
    def __init__(self, series):
        self.series, self.by_key, self.versions = series, {}, []


class Walk:
    """A closure over the lists of a bundle. It asks for what it needs, and fails where the bundle does not have it."""

    def __init__(self, bundle, size, down):
        self.bundle, self.size, self.down = bundle, size, down
        self.read, self.stands, self.first_of, self.lists, self.told = {}, {}, {}, {}, {}
        self.clocks, self.groups = {}, {}
        self.order, self.full, self.ties, self.found, self.gone = [], {}, set(), [], {}

    def entry(self, i):
        if i not in self.read:
            r = Reading(i, self.bundle.entry(i))
            self.read[i] = r
            self.first_of[r.digest] = min(i, self.first_of.get(r.digest, i))
        return self.read[i]

    def all(self, rel, x):
        """All entries of a list that are known."""
        if (rel, x) not in self.lists:
            got = [i for i in self.bundle.list(rel, x) if i < self.size]
            for i in got:
                self.entry(i)
            self.lists[rel, x] = got
        return self.lists[rel, x]

    def list(self, rel, x):
        """Those that stand: no copy of an earlier entry, and not retracted."""
        if (rel, x) not in self.told:
            self.told[rel, x] = [i for i in self.all(rel, x) if self.standing(i)]
        return self.told[rel, x]

    def standing(self, i):
        if i not in self.stands:
            r = self.entry(i)
            if r.reused:
                self.all("copied-by", r.digest.hex())
            self.stands[i] = self.first_of[r.digest] == i and not self.retractions(i)
        return self.stands[i]

    def retractions(self, i):
        out = []
        for k in self.all("retracted-by", str(i)):
            r = self.read[k]
            if r.retracts == i and k > i and self.first_of[r.digest] == k:
                out.append(k)
        return out

    def check(self):
        last = BEGINNING
        for i in sorted(self.read):
            r = self.read[i]
            if r.recorded < last:
                raise Bad("entry %d says that it was recorded before one that precedes it" % i)
            last = r.recorded
            for k in sorted(r.keys()):
                if k in self.lists and i < self.size and i not in self.lists[k]:
                    raise Bad("entry %d is missing in the list %s %s" % (i, k[0], k[1]))
        for k, got in sorted(self.lists.items()):
            for i in got:
                if k not in self.read[i].keys():
                    raise Bad("entry %d stands in the list %s %s, but has not this key" % (i, k[0], k[1]))

    # when activities ran, and which version a name meant

    def clock(self, act):
        if act in self.clocks:
            return self.clocks[act]
        c = Clock()
        start, first, recorded, c.end, last = FOREVER, FOREVER, FOREVER, BEGINNING, BEGINNING
        states, c.inputs, c.entries = set(), "", []
        for i in self.list("about", act):
            r = self.read[i]
            if r.claim is None or r.claim[0] != act:
                continue
            _, s, e, seen, state, inputs = r.claim
            if s != BEGINNING:
                start = min(start, s)
            c.end = max(c.end, e)
            if seen != BEGINNING:
                first, last = min(first, seen), max(last, seen)
            recorded = min(recorded, r.recorded)
            states.add(state)
            if inputs and (not c.inputs or rank(inputs) > rank(c.inputs)):
                c.inputs = inputs
            c.entries.append(i)

        def pick(*xs):
            return next((x for x in xs if x not in (BEGINNING, FOREVER)), recorded)
        c.read, c.wrote = pick(start, first, c.end), pick(c.end, last, start)
        c.dated = start != FOREVER or c.end != BEGINNING or first != FOREVER
        c.failed = "completed" not in states and bool(states & {"failed", "aborted"})
        c.running = bool(states & {"started", "running"}) and not states & {"completed", "failed", "aborted", "other"}
        c.klass = c.inputs or "unstated"
        self.clocks[act] = c
        return c

    def group(self, series):
        if series in self.groups:
            return self.groups[series]
        g = Group([series])
        for s in g.series:
            for t in self.same(s):
                o = other(t, s)
                if is_series(s) and is_series(o) and o not in g.series:
                    g.series.append(o)
        g.series.sort()
        for s in g.series:
            self.dates(g, s)
            self.groups[s] = g
        g.versions = sorted((v for v in g.by_key.values() if v.at != FOREVER), key=lambda v: (v.at, v.key))
        return g

    def dates(self, g, series):
        registered = {}
        for i in self.list("writes", series):
            for k, act, at in self.read[i].writes:
                if series_of(k) != series:
                    continue
                v = g.by_key.setdefault(k, Version(k))
                if not act:
                    registered[k] = min(at, registered.get(k, at))
                    continue
                c = self.clock(act)
                if c.failed:
                    v.failed = True
                elif c.wrote < v.at:
                    v.at, v.writers = c.wrote, [act]
                elif c.wrote == v.at and act not in v.writers:
                    v.writers.append(act)
        for k, at in registered.items():
            if g.by_key[k].at == FOREVER:
                g.by_key[k].at = at

    def bind(self, series, t, act):
        for v in reversed(self.group(series).versions):
            if v.at < t or v.at == t and v.writers != [act]:
                return v.key
        return series

    def target(self, t):
        if not t.floating:
            return t.to
        at = self.when(t)
        whole = split_column(parse_key(t.to))
        if not whole:
            return self.bind(t.to, at, t.act)
        b = parse_key(self.bind(key(whole[0]), at, t.act))
        if not b[3] or b[0] != "dataset":
            return t.to
        return key(column_of(b, whole[1]))

    def when(self, t):
        if t.clock == FIXED or t.clock == READ and t.at != BEGINNING:
            return t.at
        c = self.clock(t.act)
        return c.read if t.clock == READ else c.wrote

    # the closure

    def walk(self, focus):
        todo, seen = [], set()

        def add(k, part):
            if (k, part) not in seen and (k, False) not in seen:
                seen.add((k, part))
                todo.append((k, part))
                if k not in self.full:
                    self.order.append(k)
                self.full[k] = self.full.get(k, False) or not part
        for k in focus:
            add(k, False)
        into, out = ("Used", "GeneratedByStated") if self.down else ("GeneratedByStated", "Used")
        for k, part in todo:
            if part and self.full[k]:
                continue
            for t in self.same(k):
                add(other(t, k), False)
            for f in self.into(k) if self.down else self.out_of(k):
                to = f[2] if self.down else f[3]
                if part and f[1] == out:
                    self.gone.setdefault(k, []).append((f[0], to))
                    continue
                if f[:5] not in self.ties:
                    self.ties.add(f[:5])
                    self.found.append(f)
                add(to, f[1] == into)

    def same(self, k):
        return [t for i in self.list("tied-to", k) for t in self.read[i].ties if t.type == "SameAs" and k in (t.frm, t.to)]

    def follow(self, i, t, to):
        return (i, t.type, t.frm, to, self.when(t), t)

    def out_of(self, k):
        return [self.follow(i, t, self.target(t)) for i in self.list("about", k) for t in self.read[i].ties
                if t.frm == k and t.type != "SameAs" and t.type in LINEAGE]

    def into(self, k):
        names, entries, out = self.read_as(k), set(), []
        for name in names:
            entries |= set(self.list("used-by", name))
        if kind_of(k) == "activity":
            entries |= set(self.list("about", k))
        for i in sorted(entries):
            for t in self.read[i].ties:
                if t.type != "SameAs" and t.type in LINEAGE and t.to in names and (t.to == k or t.floating) and self.target(t) == k:
                    out.append(self.follow(i, t, k))
        return out

    def read_as(self, k):
        """The names by which a thing may have been read."""
        out, r = [k], parse_key(k)
        if not r[3]:
            return out
        whole = split_column(r)
        series = with_version(whole[0] if whole else r, "")
        for s in self.group(key(series)).series:
            if whole:
                s = key(column_of(parse_key(s), whole[1]))
            if s not in out:
                out.append(s)
        return out


def other(t, k):
    return t.to if t.frm == k else t.frm


# ---------------------------------------------------------------- questions, doubts, verdicts

VERBS = ["unused", "blast", "why", "approvals"]


class Asker(Walk):
    def __init__(self, bundle, q, covered):
        super().__init__(bundle, covered, q["verb"] != "why")
        self.q, self.verb, self.accept = q, q["verb"], rank(q["accept"])
        self.t, self.n, self.doubts = BEGINNING, 0, []
        self.a = {"format": "stemma-proof/v1", "question": q, "verdict": "", "covered": covered, "after": None, "weakest": "", "named": False,
                  "members": [], "uses": [], "decisions": [], "doubts": [], "retracted": []}
        for i in self.list("unreadable", ""):
            self.doubt("unreadable", "", [i], "entry %d: %s" % (i, self.read[i].unread))
        k = thing_key(q["thing"])
        self.focus = self.things(k) if q.get("versions") else [k]
        self.named()
        self.pairs()
        if self.verb == "unused":
            self.moment()
        {"unused": self.uses, "blast": self.uses, "why": self.origins, "approvals": self.decisions}[self.verb]()
        self.end()

    def doubt(self, code, k, entries, words):
        self.doubts.append({"code": code, "ref": display(k) if k else "", "entries": list(entries), "text": words})

    def things(self, k):
        r = parse_key(k)
        whole = split_column(r)
        out = {k}
        for s in self.group(key(whole[0]) if whole else k).series:
            c = key(column_of(parse_key(s), whole[1])) if whole else s
            out.add(c)
            for i in self.list("versions", s):
                for x in self.read[i].names:
                    if series_of(x) == s:
                        out.add(key(column_of(parse_key(x), whole[1])) if whole else x)
            if whole:
                for i in self.list("versions", c):
                    out |= {x for x in self.read[i].names if series_of(x) == c}
        return sorted(out)

    def named(self):
        for k in self.focus:
            for rel in ("used-by", "about", "tied-to", "decided-by"):
                if self.all(rel, k):
                    self.a["named"] = True
                    return

    def pairs(self):
        rel = {"why": "about", "approvals": "decided-by"}.get(self.verb, "used-by")
        for k in self.focus:
            r = parse_key(k)
            if r[0] in DIGESTS:
                continue
            name = r[1] + "/" + r[2] if r[1] else r[2]
            cuts = [i for i, c in enumerate(name) if c == "/" and 0 < i < len(name) - 1]
            for o in [(r[0], "", name, r[3])] + [(r[0], name[:i], name[i + 1:], r[3]) for i in cuts]:
                if o == r or key(o) in self.focus:
                    continue
                entries = self.list(rel, key(o))
                if entries:
                    self.doubt("pair", k, entries, "entries say something of the same text as another name (namespace \"%s\"); whether the two are the same, none says" % escape(o[1], False))

    def moment(self):
        n = self.q.get("size", 0)
        last = self.entry(n - 1).recorded if n > 0 else BEGINNING
        following = self.entry(n).recorded if n < self.size else FOREVER
        self.t, self.n = last, n
        after = self.q.get("after", "")
        if after:
            self.t = instant(after)
            if not isinstance(self.t, int) or written(self.t) != after:
                raise Bad("question.json: %r is not how a time is written" % after)
            if last >= self.t or following < self.t:
                raise Bad("question.json: not %d entries were recorded before %s" % (n, after))
        x = {"time": written(self.t), "size": n, "before": written(last), "next": written(following)}
        self.a["after"] = {k: v for k, v in x.items() if k in ("time", "size") or v}

    def is_member(self, k):
        return k in self.full

    # uses

    def uses(self):
        self.walk(self.focus)
        some, late = False, False
        for f in self.found:
            if f[5].retires:
                continue
            u = self.use(f)
            if f[1] in ("GeneratedBy", "GeneratedByStated") and f[3] not in self.focus:
                self.a["uses"].append(u)
                continue
            when = self.date(f)
            some, late = True, late or when == "after"
            if self.verb == "unused":
                u["when"] = when
            self.a["uses"].append(u)
        self.members()
        for k in self.order:
            self.unbound_reads(k)
            self.parts(k)
            self.aliases(k)
            self.cuts(k)
        self.siblings()
        self.a["verdict"] = "USED" if late else "INCONCLUSIVE" if self.doubts else "PROVEN-NOT-AFTER" if some else "PROVEN-ABSENT"

    def use(self, f):
        i, typ, frm, to, at, _ = f
        u = {"entry": i, "recorded": written(self.read[i].recorded), "at": written(at), "type": "GeneratedBy" if typ == "GeneratedByStated" else typ,
             "from": display(frm), "to": display(to)}
        if not u["at"]:
            del u["at"]
        return u

    def date(self, f):
        if self.verb != "unused" or self.n == 0 and not self.q.get("after"):
            return "after"
        i, typ, frm, to, at, t = f
        typ = "GeneratedBy" if typ == "GeneratedByStated" else typ
        undated = not self.clock(t.act).dated if t.act and t.at == BEGINNING else t.undated
        a, b = display(frm), display(to)
        if i >= self.n and undated:
            self.doubt("undated", frm, [i], "entry %d, recorded at or after T, says that %s used %s (%s), and not when" % (i, a, b, typ))
        elif i >= self.n and at >= self.t:
            return "after"
        elif i >= self.n:
            self.doubt("late", frm, [i], "entry %d, recorded at or after T, says that %s used %s (%s) before T, at %s" % (i, a, b, typ, written(at)))
        elif at >= self.t and not undated:
            self.doubt("early", frm, [i], "entry %d, recorded before T, says that %s used %s (%s) at or after T, at %s" % (i, a, b, typ, written(at)))
        elif self.ended(f, typ):
            return "before"
        return "open"

    def ended(self, f, typ):
        i, _, frm, to, _, t = f
        a, b = display(frm), display(to)
        if t.act and t.at == BEGINNING:
            c = self.clock(t.act)
            if c.end >= self.t:
                self.doubt("spans", frm, [i], "%s used %s and ran from before T until %s; when it read is not told" % (a, b, written(c.end)))
                return False
            if c.end == BEGINNING and (c.running or c.entries[-1] >= self.n):
                self.doubt("spans", frm, [i], "%s used %s and began before T; no entry recorded before T says that it had ended" % (a, b))
                return False
        if t.lasting:
            self.doubt("lasting", frm, [i], "%s and %s are tied (%s) from before T on; that this ended is not proved" % (a, b, typ))
            return False
        p = self.read[i].placed
        if p is None or frm != p[0]:
            return True
        for k in self.list("deployed-to", p[1]):
            o = self.read[k].placed
            if o[0] != p[0] and o[2] > p[2] and (k < self.n and o[2] <= self.t or o[2] == self.t):
                return True
        self.doubt("live", frm, [i], "%s (%s %s) was in place from before T on; no entry recorded before T ends it" % (a, typ, b))
        return False

    def members(self):
        worst = -1
        for k in sorted(self.order):
            r, ns = thing_of(k)
            m = {"ref": r}
            if ns:
                m["namespace"] = ns
            if kind_of(k) in DIGESTS:
                names = sorted({display(other(t, k)) for t in self.same(k) if t.named and series_of(other(t, k)) + "@" + k != other(t, k)})
                if names:
                    m["names"] = names
            if kind_of(k) == "activity":
                c = self.clock(k)
                if c.entries:
                    m["inputs"] = c.klass
                    worst = max(worst, rank(c.klass))
            self.a["members"].append(m)
        if worst >= 0:
            self.a["weakest"] = CLASSES[worst]

    # doubts

    def unbound_reads(self, k):
        r = parse_key(k)
        if not r[3]:
            return
        whole = split_column(r)
        ver, series = (whole[0] if whole else r), with_version(whole[0] if whole else r, "")
        v = self.group(key(series)).by_key.get(key(ver), Version(key(ver)))
        loose = set()
        for name in self.read_as(k):
            for i in self.list("used-by", name):
                for t in self.read[i].ties:
                    if t.to != name or name == k or t.type not in LINEAGE or t.type == "SameAs" or t.retires or self.is_member(t.frm):
                        continue
                    if not t.floating:
                        typ = "GeneratedBy" if t.type == "GeneratedByStated" else t.type
                        self.doubt("series", t.frm, [i], "%s is tied to %s (%s) without a version; it may be %s" % (display(t.frm), display(name), typ, display(k)))
                        continue
                    loose.add(i)
                    if v.at != FOREVER:
                        self.loose_read(i, t, k, v)
        if loose and v.at == FOREVER:
            why = "the activity that wrote it did not complete" if v.failed else "no entry says when it was written"
            self.doubt("unwritten", k, sorted(loose), "%s: %s, so reads of %s without a version are not tied to it" % (display(k), why, text(series)))

    def loose_read(self, i, t, k, v):
        a, s, b = display(t.frm), display(t.to), display(k)
        if not t.act or t.clock == READ and t.at != BEGINNING:
            if t.undated:
                self.doubt("undated-read", t.frm, [i], "%s names %s without a version, and no entry says when; it may be %s" % (a, s, b))
            return
        c = self.clock(t.act)
        if not c.dated:
            self.doubt("undated-read", t.frm, [i], "%s read %s without a version, and no entry says when; it may have read %s" % (a, s, b))
        elif t.act not in v.writers and v.at > c.read and (v.at <= c.end or c.end == BEGINNING and c.running):
            self.doubt("overlap", t.frm, [i], "%s was written while %s ran, which read %s without a version; it may have read that" % (b, a, s))

    def parts(self, k):
        for i in self.list("tied-to", k):
            for t in self.read[i].ties:
                if t.type == "PartOf" and k in (t.frm, t.to) and kind_of(t.frm) != "column" and not self.is_member(other(t, k)):
                    self.doubt("part", other(t, k), [i], "%s is said to be part of %s; the closure does not go from the one to the other" % (display(t.frm), display(t.to)))

    def aliases(self, k):
        for i in self.list("tied-to", k):
            for t in self.read[i].ties:
                if t.type != "NamedBy" or t.frm != k or self.is_member(t.to):
                    continue
                by = [j for j in self.list("used-by", t.to) if any(u.to == t.to and u.type in LINEAGE and u.type != "SameAs" for u in self.read[j].ties)]
                if by:
                    self.doubt("alias", t.to, by, "%s was used by that name, which a registry pointed at %s" % (display(t.to), display(k)))

    def cuts(self, k):
        if self.full[k] or kind_of(k) != "activity" or rank(self.clock(k).klass) <= self.accept:
            return
        for i, to in self.gone.get(k, []):
            if not self.is_member(to):
                self.doubt("cut", to, [i], "%s states what %s was made from, and none of it is in the closure; its inputs are %s"
                           % (display(k), display(to), self.clock(k).klass))

    def siblings(self):
        first, seen = self.first_written(), set()

        def run(act, how):
            if act in seen or self.is_member(act):
                return
            seen.add(act)
            c = self.clock(act)
            if rank(c.klass) > self.accept and not (c.end != BEGINNING and c.end < first):
                self.doubt("inputs", act, c.entries, "%s %s, and its inputs are %s: what it may have read besides is not told" % (display(act), how, c.klass))
        for k in self.order:
            if kind_of(k) != "activity":
                continue
            plans = []
            for i in self.list("about", k):
                for t in self.read[i].ties:
                    if t.type == "HadPlan" and t.frm == k:
                        plans += [p for p in (t.to, series_of(t.to)) if p and p not in plans]
            for p in plans:
                for i in self.list("used-by", p):
                    for t in self.read[i].ties:
                        if t.type == "HadPlan" and t.to == p and t.act:
                            run(t.act, "follows " + display(p))
        for k in self.order:
            s = series_of(k)
            if s and k not in self.focus:
                for i in self.list("writes", s):
                    for ver, act, _ in self.read[i].writes:
                        if act and series_of(ver) == s:
                            run(act, "wrote a version of " + display(s))

    def first_written(self):
        todo, first = list(self.focus), FOREVER
        for k in todo:
            for t in self.same(k):
                if other(t, k) not in todo:
                    todo.append(other(t, k))
            if series_of(k):
                v = self.group(series_of(k)).by_key.get(k)
                if v is None or v.at == FOREVER:
                    return BEGINNING
                first = min(first, v.at)
        return BEGINNING if first == FOREVER else first

    # why and approvals

    def origins(self):
        self.walk(self.focus)
        for f in self.found:
            self.a["uses"].append(self.use(f))
            self.origin_doubts(f)
        for k in self.order:
            if kind_of(k) == "activity":
                c = self.clock(k)
                if c.entries and rank(c.klass) > self.accept:
                    self.doubt("inputs", k, c.entries, "the inputs of %s are %s: what it may have read besides is not told" % (display(k), c.klass))
                self.cuts(k)
        self.members()
        self.a["verdict"] = "INCONCLUSIVE" if self.doubts else "PROVEN-COMPLETE" if self.found else "PROVEN-ABSENT"

    def origin_doubts(self, f):
        i, _, frm, to, _, t = f
        if not t.floating or kind_of(t.to) == "column":
            return
        g, a, s = self.group(t.to), display(frm), display(t.to)
        for k in sorted(k for k, v in g.by_key.items() if v.at == FOREVER):
            self.doubt("unwritten", k, [i], "%s: the activity that wrote it did not complete, so reads of %s without a version are not tied to it" % (display(k), s))
        if not t.act or t.at != BEGINNING:
            if t.undated:
                self.doubt("undated-read", frm, [i], "%s names %s without a version, and no entry says when" % (a, s))
            return
        c = self.clock(t.act)
        if not c.dated:
            self.doubt("undated-read", frm, [i], "%s read %s without a version, and no entry says when" % (a, s))
            return
        for v in g.versions:
            if v.key != to and v.at > c.read and (v.at <= c.end or c.end == BEGINNING and c.running) and t.act not in v.writers:
                self.doubt("overlap", frm, [i], "%s was written while %s ran, which read %s without a version; it may have read that" % (display(v.key), a, s))

    def decisions(self):
        todo, entries = list(self.focus), set()
        for k in todo:
            for t in self.same(k):
                if other(t, k) not in todo:
                    todo.append(other(t, k))
        for k in todo:
            entries |= set(self.list("decided-by", k))
            self.full[k] = True
        self.order = todo
        for i in sorted(entries):
            r = self.read[i]
            k, p, at, undated, of = r.says
            m = {"entry": i, "recorded": written(r.recorded), "recordedBy": r.by, "ref": display(k), "of": [display(x) for x in of], "decision": p["decision"],
                 "review": p["review"], "approver": p["approver"], "role": p["role"], "environments": p["environments"], "at": "" if undated else written(at),
                 "from": written(p["validFrom"]) if p["validFrom"] is not None else "", "until": written(p["validUntil"]) if p["validUntil"] is not None else "",
                 "revokedBy": self.list("revoked-by", k)}
            for field in ("role", "environments", "at", "from", "until", "revokedBy"):
                if not m[field]:
                    del m[field]
            self.a["decisions"].append(m)
        self.members()
        self.a["verdict"] = "INCONCLUSIVE" if self.doubts else "PROVEN-COMPLETE" if self.a["decisions"] else "PROVEN-ABSENT"

    def end(self):
        self.check()
        a = self.a
        a["retracted"] = [{"entry": i, "by": self.retractions(i)} for i in sorted(self.stands) if not self.stands[i] and self.retractions(i)]
        if self.verb != "approvals":
            a["uses"].sort(key=lambda u: (u["entry"], u["type"], u["from"], u["to"], u.get("at", "")))
        last = None
        for d in sorted(self.doubts, key=lambda d: (d["code"], d["ref"], d["text"])):
            if last == (d["code"], d["ref"], d["text"]):
                continue
            last = (d["code"], d["ref"], d["text"])
            if not d["ref"]:
                del d["ref"]
            a["doubts"].append(d)
        for field in ("after", "weakest"):
            if not a[field]:
                del a[field]


def thing_key(t):
    return key(in_namespace(parse_ref(t["ref"]), t.get("namespace", "")))


def read_question(data, covered):
    """The question, if it is written as the program writes it."""
    q = load(data)
    try:
        out = shape(q, obj(verb="str", thing=obj(ref="str", namespace="str"), versions="bool", after="str", size="uint", accept="str"))
        if set(q) - set(out) or set(q.get("thing") or {}) - {"ref", "namespace"}:
            raise Bad("question.json: it has a field that is not known")
        if not out["thing"]["namespace"]:
            del out["thing"]["namespace"]
        for field in ("versions", "after", "size"):
            if not out[field]:
                del out[field]
        if out["verb"] not in VERBS or out["accept"] not in CLASSES:
            raise Bad("question.json: the question is not known")
        if out["verb"] != "unused" and ("after" in out or "size" in out):
            raise Bad("question.json: only the question unused has a time")
        if out.get("size", 0) > covered:
            raise Bad("question.json: the log has not yet so many entries")
        k = thing_key(out["thing"])
        if thing_of(k) != (out["thing"]["ref"], out["thing"].get("namespace", "")):
            raise Bad("question.json: the name is not written in its one form")
        if "versions" in out and not is_series(k):
            raise Bad("question.json: the thing has no versions")
        return out
    except Unread as e:
        raise Bad("question.json: %s" % e)


# ---------------------------------------------------------------- the answer in words


def count(n, one, many_):
    return one if n == 1 else (many_ % n if "%d" in many_ else "%d %s" % (n, many_))


def question_text(q):
    ns = q["thing"].get("namespace", "")
    name = q["thing"]["ref"] + (" (namespace %s)" % ns if ns else "") + (" (all versions)" if q.get("versions") else "")
    if q["verb"] == "unused":
        t = q.get("after", "")
        if not t and not q.get("size"):
            return "was %s, or anything made with it, ever used?" % name
        if not t:
            t = "the moment at which the log had %s" % count(q["size"], "1 entry", "entries")
        return "was %s, or anything made with it, used at or after T, %s?" % (name, t)
    return {"blast": "what was made with %s?", "why": "what was %s made from?", "approvals": "which decisions were made on %s?"}[q["verb"]] % name


def after_text(x):
    if not x["size"] and not x["time"]:
        return "the beginning of the log"
    s = "%s; %s recorded before it" % (x["time"], count(x["size"], "1 entry was", "%d entries were"))
    if "before" in x:
        s += ", the last at " + x["before"]
    s += ", the next at " + x["next"] if "next" in x else "; none was recorded later"
    return s + ", by the clock of the log's operator"


def sentence(a):
    n = sum(u.get("when") == "after" for u in a["uses"])
    uses = count(len(a["uses"]), "1 relation is recorded", "%d relations are recorded")
    doubts = count(len(a["doubts"]), "see the 1 doubt below", "see the %d doubts below")
    verb, verdict = a["question"]["verb"], a["verdict"]
    if verdict == "INCONCLUSIVE":
        if verb == "why":
            return "%s; whether there are others, it cannot be said: %s" % (uses, doubts)
        if verb == "approvals":
            return "%s; whether there are others, it cannot be said: %s" % (count(len(a["decisions"]), "1 decision is recorded", "%d decisions are recorded"), doubts)
        return "it cannot be said: " + doubts
    if verb == "approvals":
        if verdict == "PROVEN-ABSENT":
            return "no entry decides on it"
        return "%s, and no other entry decides on it" % count(len(a["decisions"]), "the 1 decision below is recorded", "the %d decisions below are recorded")
    if verb == "why":
        return "no entry says what it was made from" if verdict == "PROVEN-ABSENT" else uses + ", and no other entry says what it was made from"
    if verdict == "PROVEN-ABSENT":
        return "no entry says that it, or anything made with it, was used"
    if verdict == "PROVEN-NOT-AFTER":
        return uses + ", each recorded before T and dated before T; no entry says that it, or anything made with it, was used at or after T"
    if verb == "unused" and a["after"]["time"]:
        return "yes: %s recorded at or after T and dated then" % count(n, "1 use was", "%d uses were")
    return "yes: " + uses


def inputs_text(a):
    accept = a["question"]["accept"]
    if "weakest" not in a:
        return "no activity was met; taken as complete: %s or stronger" % accept
    classes = [m.get("inputs", "") for m in a["members"]]
    parts = ", ".join("%d %s" % (classes.count(c), c) for c in CLASSES if c in classes)
    return "the weakest class of the activities met is %s (%s); taken as complete: %s or stronger" % (a["weakest"], parts, accept)


def cite(entries):
    if not entries:
        return ""
    names = [str(i) for i in entries[:8]]
    if len(entries) > 8:
        names.append("and %d more, in answer.json" % (len(entries) - 8))
    return " (%s %s)" % ("entry" if len(entries) == 1 else "entries", ", ".join(names))


def made_text(m):
    s = "%s: %s, %s review, by %s" % (m["ref"], m["decision"], m["review"], m["approver"])
    if "role" in m:
        s += " as " + m["role"]
    if "environments" in m:
        s += " for " + ", ".join(m["environments"])
    if "at" in m:
        s += ", dated " + m["at"]
    if "until" in m:
        s += ", until " + m["until"]
    s += ", of " + ", ".join(m["of"])
    if "revokedBy" in m:
        s += "; taken back or replaced" + cite(m["revokedBy"]).replace(" (", " (by ", 1)
    return s


def summary(a, log):
    out = [a["verdict"]]

    def line(name, s):
        out.append("  %-10s %s" % (name, s))
    line("question", question_text(a["question"]))
    line("answer", sentence(a))
    line("covers", "%s of log %s: what was recorded, and nothing else" % (count(a["covered"], "the 1 entry", "all %d entries"), log["origin"]))
    line("checkpoint", "%d entries, root %s; index root %s" % (log["size"], log["root"], log["index"]))
    if "after" in a:
        line("T", after_text(a["after"]))
    if a["question"]["verb"] != "approvals":
        line("inputs", inputs_text(a))
    if not a["named"]:
        line("name", "no entry names %s; is it written as it was recorded?" % a["question"]["thing"]["ref"])
    if not a["doubts"]:
        line("doubts", "none")
    else:
        out.append("doubts")
        out += ["  %s: %s%s" % (d["code"], d["text"], cite(d["entries"])) for d in a["doubts"]]
    if a["decisions"]:
        out.append("decisions")
        out += ["  entry %d  recorded %s  %s" % (m["entry"], m["recorded"], made_text(m)) for m in a["decisions"]]
    if a["uses"]:
        out.append("relations")
        names = {m["ref"]: m["names"][0] for m in a["members"] if len(m.get("names", [])) == 1}
        for u in a["uses"]:
            at = "  dated " + u["at"] if "at" in u else ""
            when = "  " + u["when"] if "when" in u else ""
            out.append("  entry %d  recorded %s%s%s  %s %s %s"
                       % (u["entry"], u["recorded"], at, when, names.get(u["from"], u["from"]), u["type"], names.get(u["to"], u["to"])))
    if a["retracted"]:
        out.append("retracted, and not counted")
        out += ["  entry %d%s" % (r["entry"], cite(r["by"]).replace(" (", " (by ", 1)) for r in a["retracted"]]
    return "\n".join(out) + "\n"


def escape_html(s):
    return s.replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;")


def page(words):
    return ("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>" + escape_html(words.split("\n", 1)[0])
            + "</title>\n<style>body{margin:2em;font:14px/1.5 monospace}pre{white-space:pre-wrap}</style>\n<pre>" + escape_html(words)
            + "</pre>\n<p>This page proves nothing. To verify: stemma verify FILE.zip --log-key KEY, or python3 verify.py FILE.zip KEY, "
            "with the log's public key from a source that you trust.</p>\n</html>\n")


# ---------------------------------------------------------------- the bundle


def store(files):
    """A zip file in the one form of a bundle."""
    out, central = bytearray(), bytearray()
    for name, data in files:
        head = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0)
        central += b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + name.encode()
        out += b"PK\x03\x04" + head + name.encode() + data
    n, at = len(files), len(out)
    out += central
    if n >= 0xFFFF or len(central) >= 0xFFFFFFFF or at >= 0xFFFFFFFF:
        end = len(out)
        out += b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, n, n, len(central), at)
        out += b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
        n, central_size, at = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    else:
        central_size = len(central)
    return bytes(out + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, n, n, central_size, at, 0))


class Bundle:
    def __init__(self, data):
        self.data, self.files = data, {}
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as z:
                for f in z.infolist():
                    if f.compress_type != zipfile.ZIP_STORED or f.file_size > len(data) or f.filename in self.files:
                        raise Bad("member %r is compressed, too large or there twice" % f.filename)
                    self.files[f.filename] = z.read(f)
        except (zipfile.BadZipFile, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as e:
            raise Bad("reading zip: %s" % e)
        m = load(self.member("bundle.json"))
        if not isinstance(m, dict) or m.get("format") != "stemma-bundle/v2":
            old = isinstance(m, dict) and m.get("format") == "stemma-bundle/v1"
            raise Bad("bundle.json: this is no completeness proof" + (", but an older bundle; stemma verify reads it" if old else ""))
        self.entries, self.proofs = {}, {}
        if not isinstance(m.get("entries"), list):
            raise Bad("bundle.json: entries are missing")
        for i in m["entries"]:
            if not isinstance(i, int) or isinstance(i, bool) or i < 0:
                raise Bad("bundle.json: an entry is no number")
            if "entries/%d.json" % i not in self.files:
                raise Bad("entry %d is missing" % i)
            self.entries[i] = self.files["entries/%d.json" % i]
            proof = self.files.get("proofs/%d.txt" % i, b"").decode("ascii", "replace").split()
            self.proofs[i] = [b64(x) for x in proof]
            if any(len(h) != 32 for h in self.proofs[i]):
                raise Bad("proofs/%d.txt: a line is no hash" % i)
        self.lists, self.taken, self.took = {}, set(), set()
        lists = load(self.member("index/lists.json"))
        if not isinstance(lists, list):
            raise Bad("index/lists.json: it is no list")
        for x in lists:
            if not isinstance(x, dict) or not isinstance(x.get("relation"), str) or not isinstance(x.get("of"), str) or not isinstance(x.get("entries"), list):
                raise Bad("index/lists.json: a list is not as it should be")
            if any(not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < 2**64 for i in x["entries"]):
                raise Bad("index/lists.json: an entry is no number")
            self.lists[x["relation"], x["of"]] = x["entries"]

    def member(self, name):
        if name not in self.files:
            raise Bad("%s is missing" % name)
        return self.files[name]

    def entry(self, i):
        if i not in self.entries:
            raise Bad("entry %d is missing" % i)
        self.took.add(i)
        return self.entries[i]

    def list(self, rel, x):
        try:
            value = self.tree.lookup(key_of(rel, x))
        except LookupError:
            raise Bad("index/proof does not say which entries are in the list %s %s" % (rel, x))
        if value is None:
            return []
        if (rel, x) not in self.lists:
            raise Bad("index/lists.json: the list %s %s is missing" % (rel, x))
        got = self.lists[rel, x]
        if list_hash(got) != value:
            raise Bad("index/lists.json: the list %s %s is not the one that the index has" % (rel, x))
        if any(b <= a for a, b in zip(got, got[1:])):
            raise Bad("the list %s %s does not ascend, so the index is not what it should be" % (rel, x))
        self.taken.add((rel, x))
        return got

    def verify(self, log_key):
        """The answer and the summary; Bad names the first thing that does not hold."""
        size, root = checkpoint(self.member("checkpoint"), log_key)
        if size == 0:
            raise Bad("checkpoint: the log is empty")
        for i in sorted(self.entries):
            included(i, self.entries[i], self.proofs[i], size, root)
        if size - 1 not in self.entries:
            raise Bad("entry %d, the last under the checkpoint, is missing; it must tell the root of the index" % (size - 1))
        r = Reading(size - 1, self.entry(size - 1))
        last = r.index
        if last is None:
            raise Bad("entry %d, the last under the checkpoint, does not tell the root of the index; the entries that it leaves out are not proved" % (size - 1))
        if last["version"] != "stemma-vindex/v1":
            raise Bad("entry %d: the version of the index is not known" % (size - 1))
        if not signed_by(r.payload, r.sigs, log_key.key):
            raise Bad("entry %d tells a root of the index, but the log's key has not signed it" % (size - 1))
        if last["size"] != size - 1:
            raise Bad("entry %d: the index covers %d entries, and not the %d before it" % (size - 1, last["size"], size - 1))
        self.tree = Tree(self.member("index/proof"))
        if self.tree.root().hex() != last["root"]:
            raise Bad("index/proof: it does not lead to the root that entry %d tells" % (size - 1))
        q = read_question(self.member("question.json"), size - 1)
        try:
            answer = Asker(self, q, size - 1).a
        except Unread as e:
            raise Bad(str(e))
        for name in sorted(self.lists):
            if name not in self.taken:
                raise Bad("index/lists.json: the question does not need the list %s %s" % name)
        for i in sorted(self.entries):
            if i not in self.took:
                raise Bad("entry %d: the question does not need it" % i)
        words = summary(answer, {"origin": log_key.name, "size": size, "root": root.hex(), "index": last["root"]})
        self.compare(self.again(log_key.name, q, answer, words))
        return answer, words

    def again(self, origin, q, answer, words):
        entries = sorted(self.entries)
        files = [("bundle.json", dump({"format": "stemma-bundle/v2", "origin": origin, "entries": entries})), ("question.json", dump(q)),
                 ("answer.json", dump(answer)), ("summary.txt", words.encode()), ("checkpoint", self.files["checkpoint"]),
                 ("index/lists.json", dump([{"relation": r, "of": x, "entries": self.lists[r, x]} for r, x in sorted(self.lists)])),
                 ("index/proof", self.files["index/proof"])]
        files += [("entries/%d.json" % i, self.entries[i]) for i in entries]
        files += [("proofs/%d.txt" % i, "".join(base64.b64encode(h).decode() + "\n" for h in self.proofs[i]).encode()) for i in entries]
        return files + [("index.html", page(words).encode())]

    def compare(self, files):
        if store(files) == self.data:
            return
        for (name, want), (found, got) in zip(files, self.files.items()):
            if name != found or want != got:
                raise Bad("%s is not what the entries say" % name)
        raise Bad("its members are not those that belong to it" if len(files) != len(self.files) else "bytes of the zip container were changed")


def main(args):
    if len(args) != 2 or args[0].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        text_ = args[1]
        if os.path.exists(text_):
            with open(text_, encoding="utf-8") as f:
                text_ = f.read().strip()
        log_key = LogKey(text_)
    except (OSError, ValueError) as e:
        print("verify.py: log key: %s" % e, file=sys.stderr)
        return 2
    try:
        with open(args[0], "rb") as f:
            data = f.read()
    except OSError as e:
        print("verify.py: %s" % e, file=sys.stderr)
        return 1
    sys.setrecursionlimit(10000)
    try:
        _, words = Bundle(data).verify(log_key)
    except Exception as e:  # whatever a made-up bundle leads to, it is not verified
        if not isinstance(e, (Bad, Unread)):
            e = "it is malformed (%s: %s)" % (type(e).__name__, e)
        print("UNVERIFIABLE")
        print("verify.py: %s: the bundle does not verify: %s" % (args[0], e), file=sys.stderr)
        return 12
    sys.stdout.write(words)
    print("verified: nothing of this is taken on trust but the log's key")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
