# Tells which files a Python program opens, renames and removes, what it starts
# and where it connects. Python imports this module by itself when it starts,
# because its folder is in PYTHONPATH. It hands over to the sitecustomize that
# would have been imported without it, and must never break the program: what
# fails in here is left out. It opens its output for each event, because a kept
# descriptor could be closed and given to a file of the program.


def _stemma_install():
    import os
    import sys

    target = os.environ.get("STEMMA_TRACE_PYTHON")
    if not target or not hasattr(sys, "addaudithook"):
        return
    import _thread
    import time

    busy = _thread._local()
    o_open, o_write, o_close, getpid, getppid = os.open, os.write, os.close, os.getpid, os.getppid
    fsencode, join, getcwdb, readlink = os.fsencode, os.path.join, os.getcwdb, os.readlink
    now = time.time_ns
    out_flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
    accmode = os.O_WRONLY | os.O_RDWR
    letters = [(os.O_CREAT, b"c"), (os.O_TRUNC, b"t"), (os.O_APPEND, b"a")]
    directory = getattr(os, "O_DIRECTORY", 0)

    def absolute(path, dir_fd=None):
        if isinstance(path, int):
            return None
        path = fsencode(path)
        if dir_fd is None or dir_fd == -1:
            return join(getcwdb(), path)
        return join(fsencode(readlink("/proc/self/fd/%d" % dir_fd)), path)

    def put(kind, flags, path, to=b""):
        if path is None or to is None:
            return
        fields = [kind, b"%d" % getpid(), b"%d" % getppid(), b"%d" % now(), flags, path, to]
        fd = o_open(target, out_flags)
        try:
            o_write(fd, b"\0".join(fields) + b"\0")
        finally:
            o_close(fd)

    def opened(path, mode, flags):
        if not isinstance(flags, int):
            flags = 0
        found = b"".join([l for bit, l in letters if flags & bit])
        if directory and flags & directory == directory:
            found += b"d"
        how = flags & accmode
        if how == os.O_RDWR:
            found += b"+"
        put(b"w" if how or flags & os.O_TRUNC else b"r", found, absolute(path))

    def connected(sock, address):
        if isinstance(address, tuple) and len(address) >= 2:
            put(b"n", b"", ("%s:%s" % (address[0], address[1])).encode("utf-8", "replace"))
        elif isinstance(address, (str, bytes)):
            put(b"n", b"u", fsencode(address))

    def started(program, args, *rest):
        if program is None and args:
            program = args if isinstance(args, (str, bytes)) else args[0]
        if isinstance(args, (str, bytes)):
            args = [args]
        put(b"x", b"", fsencode(program), b"\1".join([fsencode(a) for a in args or []]))

    table = {
        "open": opened,
        "os.rename": lambda a, b, fa, fb: put(b"m", b"", absolute(a, fa), absolute(b, fb)),
        "os.link": lambda a, b, fa, fb: put(b"m", b"h", absolute(a, fa), absolute(b, fb)),
        "os.symlink": lambda a, b, fd: put(b"w", b"cs", absolute(b, fd), fsencode(a)),
        "os.remove": lambda a, fd: put(b"d", b"", absolute(a, fd)),
        "os.truncate": lambda a, n: put(b"w", b"t", absolute(a)),
        "socket.connect": connected,
        "subprocess.Popen": started,
        "os.exec": started,
        "os.posix_spawn": started,
    }

    def hook(event, args, table=table, busy=busy):
        see = table.get(event)
        if see is None or getattr(busy, "now", False):
            return
        busy.now = True
        try:
            see(*args)
        except Exception:
            pass
        finally:
            busy.now = False

    put(b"f", b"", fsencode(sys.executable or ""))
    sys.addaudithook(hook)


def _stemma_next():
    import os
    import sys

    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != here]
    sys.path_importer_cache.pop(here, None)
    mine = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize
    except ImportError as e:
        if getattr(e, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", mine)


try:
    _stemma_install()
except Exception:
    pass
_stemma_next()
