"""A worker that leaves behind whatever it can, and attacks other processes."""

WORKER = r'''
import ctypes, errno, mmap, os, socket, struct, sys, time
from caudex_worker import Worker

worker = Worker()
libc = ctypes.CDLL(None, use_errno=True)
NAP = "import time; time.sleep(300)"
QUIET = "import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); time.sleep(300)"
HOPS = """
import os, time
while True:
    try:
        if os.fork(): os._exit(0)
    except OSError: time.sleep(0.01)  # the init process has not reaped the former ones yet
"""
NESTS = """
import ctypes, os, time
for _ in range(40):
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    if os.fork(): break
time.sleep(300)
"""
BOMB = """
import os, time
while True:
    try: os.fork()
    except OSError: time.sleep(0.01)
"""
TAKES = r"""
import os, socket, sys, time
port, report = int(sys.argv[1]), sys.argv[2]
def take(family, address, protocol):
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind((address, port))
    listener.listen()
    return listener
held = []
while True:
    for family, address in (
        (socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for protocol in (0, 262):
            try:
                held.append(take(family, address, protocol))
                line = f"taken {address} {protocol}"
            except OSError as error:
                line = f"{address} {protocol} {error.errno}"
            with open(report, "a") as file:
                file.write(line + "\n")
    time.sleep(0.05)
"""

HOARDS = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        hoard = os.urandom(1 << 20) * 100
        time.sleep(300)
time.sleep(300)
"""
def leave(code, environment, *words):
    """Leave the session and the group with an environment of its own; return the id."""
    reading, writing = os.pipe()
    if (first := os.fork()) == 0:
        os.setsid()
        if (second := os.fork()) == 0:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.closerange(3, 256)
            os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code, *words], environment)
        os.write(writing, str(second).encode())
        os._exit(0)
    os.waitpid(first, 0)
    return int(os.read(reading, 20))

def mark(change):
    return {"CAUDEX_REPLICA": change(os.environ["CAUDEX_REPLICA"])}

KINDS = {
    "setsid": lambda: leave(NAP, dict(os.environ)),
    "hidden": lambda: leave(NAP, {}),
    "not dumpable": lambda: leave(QUIET, {}),
    "invented mark": lambda: leave(NAP, {"CAUDEX_REPLICA": "an.other"}),
    "mark of the server": lambda: leave(NAP, mark(lambda own: own.rpartition(".")[0] + ".0123")),
    "nested reapers": lambda: leave(NESTS, {}),
    "hops": lambda: leave(HOPS, {}),
    "bomb": lambda: leave(BOMB, {}),
}

@worker.rpc
def start(params, ctx):
    return KINDS[params["kind"]]()

@worker.rpc
def take(params, ctx):
    return leave(TAKES, {}, str(params["port"]), params["report"])

@worker.rpc
def remember(params, ctx):
    """Memory that could outlive every process: files, System V, and a mapping that a daemon has."""
    with open("/dev/shm/left-behind", "w") as file:
        file.write("x")
    os.makedirs("/dev/shm/folder/within", exist_ok=True)
    made = {}
    for name, call, words in (
        ("shm", libc.shmget, (0, 4096, 0o1600)), ("sem", libc.semget, (0, 1, 0o1600)),
        ("msg", libc.msgget, (0, 0o1600)),
    ):
        made[name] = call(*words)
    path = os.path.join(os.environ["HOME"], "mapped")
    with open(path, "wb+") as file:
        file.truncate(1 << 20)
        mapped = mmap.mmap(file.fileno(), 1 << 20)
    if os.fork() == 0:
        os.setsid()
        mapped[0] = 1
        time.sleep(300)
    plain = socket.socket(socket.AF_UNIX)
    plain.bind(os.path.join(os.environ["TMPDIR"], "socket"))
    if os.fork() == 0:
        os.setsid()
        time.sleep(300)
    return made

@worker.rpc
def attack(params, ctx):
    """Try to reach another process; return what succeeded."""
    pid, done = params["pid"], []
    limits = (ctypes.c_ulong * 2)(16, 16)
    tries = {
        "ptrace": lambda: libc.ptrace(16, pid, 0, 0) == 0,
        "seize": lambda: libc.ptrace(0x4206, pid, 0, 0) == 0,
        "prlimit": lambda: libc.prlimit(pid, 7, limits, None) == 0,
        "kill": lambda: os.kill(pid, 0) is None,
        "priority": lambda: os.setpriority(os.PRIO_PROCESS, pid, 19) is None,
        "affinity": lambda: os.sched_setaffinity(pid, {0}) is None,
        "memory": lambda: open(f"/proc/{pid}/mem", "rb") is not None,
        "environment": lambda: open(f"/proc/{pid}/environ", "rb").read() is not None,
        "files": lambda: os.listdir(f"/proc/{pid}/fd") is not None,
        "oom": lambda: open(f"/proc/{pid}/oom_score_adj", "w").write("1000") is not None,
        "cgroup": lambda: open("/sys/fs/cgroup/cgroup.procs", "w").write("0") is not None,
        "pidfd": lambda: libc.syscall(438, libc.syscall(434, pid, 0), 0, 0) >= 0,
    }
    for name, act in tries.items():
        try:
            if act():
                done.append(name)
        except OSError:
            pass
    return done

@worker.rpc
def serve(params, ctx):
    listener = socket.socket()
    listener.bind(("127.0.0.1", params["port"]))
    listener.listen()
    return True

@worker.rpc
def listen(params, ctx):
    """Listen without bind(2), at a port of the system's choice or this one of its range."""
    port, done = params["port"], []
    chosen = struct.pack("I", port | port << 16)
    for family in (socket.AF_INET, socket.AF_INET6):
        for steered in (False, True):
            for act in (lambda own: own.listen(), lambda own: libc.syscall(50, own.fileno(), 8)):
                own = socket.socket(family)
                try:
                    if steered:
                        own.setsockopt(socket.IPPROTO_IP, 51, chosen)  # IP_LOCAL_PORT_RANGE
                    act(own)
                    listens = own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                except OSError:
                    continue
                if listens:
                    worker.kept = [*getattr(worker, "kept", []), own]
                    done.append(own.getsockname()[:2])
    return done

def fork_idle(count, hoard=lambda: None):
    for _ in range(count):
        if os.fork() == 0:
            held = hoard()
            time.sleep(300)
            os._exit(0)

def hoard_in_files():
    worker.kept = [*getattr(worker, "kept", []), os.urandom(1 << 20) * 100]
    with open("/dev/shm/hoard", "wb") as file:
        for _ in range(180):
            file.write(os.urandom(1 << 20))
    with open("/dev/shm/deleted", "wb") as file:
        os.unlink("/dev/shm/deleted")
        file.write(bytes(60 << 20))  # both fit into 256 MB: more would be an error
        time.sleep(300)

def share_with_many():
    "No more than one copy of it, however many processes have it."
    worker.kept = os.urandom(1 << 20) * 100
    fork_idle(8)

HOARDS_OF = {
    "processes": lambda: fork_idle(4, lambda: os.urandom(1 << 20) * 100),
    "hidden": lambda: leave(HOARDS, {}),
    "files": hoard_in_files,
    "copies": share_with_many,
}

@worker.rpc
def hoard(params, ctx):
    """Take over 300 MB, no more than 100 of them in one process."""
    HOARDS_OF[params["kind"]]()
    return True

@worker.rpc
def fill(params, ctx):
    """Write files of so many MB; with `deleted` they are deleted and stay open."""
    for number in range(params["mb"]):
        path = os.path.join(os.environ["TMPDIR"], str(number))
        file = open(path, "wb")
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        if params.get("deleted"):
            os.unlink(path)
            worker.kept = [*getattr(worker, "kept", []), file]
    return True

@worker.rpc
def about(params, ctx):
    with open("/proc/self/oom_score_adj") as file:
        return {"oom": int(file.read()), "nice": os.nice(0), "pid": os.getpid(), "uid": os.getuid()}

worker.run()
'''
