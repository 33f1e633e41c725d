"""What confines a worker, seen from inside of one."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import plugins
from kernel.public import BootError
from kernel.testing import MakeServer, Server
from plugins.workers.config import WorkersConfig
from plugins.workers.isolation.sandbox import SYSTEM, Sandbox, around, landlock_version
from plugins.workers.isolation.wrapping import Place
from plugins.workers.releases.ownership import give_to_account, reclaim
from tests.plugins.workers.support import QUICK, deployed, result, rpc, status

ROOT = os.geteuid() == 0
UNPRIVILEGED = pwd.getpwnam("nobody").pw_uid
ABOVE = Path(plugins.__path__[0]).parent
as_root = pytest.mark.skipif(not ROOT, reason="accounts are changed as root only")
confined = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")


@pytest.fixture(scope="module")
def app(workers: Server) -> str:
    return deployed(workers)


@pytest.fixture(scope="module")
def facts(workers: Server, app: str) -> dict:
    return result(workers.admin, app, "facts")


def test_its_environment_holds_nothing_of_the_servers(facts: dict, app: str, workers: Server):
    found = facts["environment"]
    assert set(found) == {
        "PATH", "HOME", "TMPDIR", "LANG", "CAUDEX_APP_ID", "CAUDEX_RUNTIME_URL", "CAUDEX_REPLICA",
        "PYTHONPATH",
        "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING",
    }  # fmt: skip
    assert found["CAUDEX_APP_ID"] == app
    assert found["CAUDEX_RUNTIME_URL"] == workers.url
    assert f"/{app}." in found["HOME"]
    assert f"/{app}." in found["TMPDIR"]


def test_it_leads_a_group_of_its_own_and_shares_no_file(facts: dict):
    assert facts["group"] == facts["pid"]
    assert facts["umask"] == 0o077
    assert facts["files"] < 20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_how_far_it_yields_to_the_server_is_configurable(make_server: MakeServer):
    server = make_server({"plugins": {"workers": {**QUICK, "oom_score_adj": 700, "nice": 9}}})
    pid = result(server.admin, deployed(server), "facts")["pid"]
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == 700
    assert os.getpriority(os.PRIO_PROCESS, pid) == max(9, os.getpriority(os.PRIO_PROCESS, 0))


@as_root
def test_each_app_has_an_account_of_its_own(workers: Server, facts: dict):
    other = result(workers.admin, deployed(workers), "facts")
    first = QUICK["uid_base"]
    assert facts["uid"] in range(first, first + QUICK["uid_count"])
    assert facts["uid"] != other["uid"]
    assert facts["gids"] == []
    with pytest.raises(KeyError):
        pwd.getpwuid(facts["uid"])


def test_it_writes_its_home_and_temporary_files_and_nothing_else(workers: Server, app: str):
    assert rpc(workers.admin, app, "write", {"path": "$HOME/file"}).status_code == 200
    assert rpc(workers.admin, app, "write", {"path": "$TMPDIR/file"}).status_code == 200
    data = workers.kernel.context.data_dir
    places = ["/file", "/usr/file", str(data / "file"), str(data / "config" / "file")]
    if ROOT or landlock_version():
        places += ["worker.py", "file"]
    for path in places:
        answer = rpc(workers.admin, app, "write", {"path": path})
        assert answer.status_code == 500, path


def test_it_reads_neither_keys_nor_other_apps(workers: Server, app: str, facts: dict):
    data, other = workers.kernel.context.data_dir, deployed(workers)
    theirs = result(workers.admin, other, "facts")
    assert rpc(workers.admin, other, "write", {"path": "$HOME/secret"}).status_code == 200
    keys = list((data / "config").iterdir())
    assert keys
    for path in (
        *keys,
        Path(theirs["environment"]["HOME"]) / "secret",
        Path(theirs["cwd"]) / "worker.py",
    ):
        answer = rpc(workers.admin, app, "read", {"path": str(path)})
        assert answer.status_code == 500, path
        assert "ermission denied" in answer.json()["error"]
    assert rpc(workers.admin, app, "read", {"path": facts["cwd"] + "/worker.py"}).status_code == 200


def test_it_reads_neither_memory_nor_environment_of_the_server(workers: Server, app: str):
    for name in ("environ", "mem", "maps"):
        answer = rpc(workers.admin, app, "read", {"path": f"/proc/{os.getpid()}/{name}"})
        assert answer.status_code == 500, name


@confined
def test_the_status_says_which_landlock_and_program(workers: Server, app: str):
    found = status(workers.admin, app)["sandbox"]
    assert found["landlock"] == landlock_version()
    assert "python" in found["program"]


def test_switched_off_it_says_so(make_server: MakeServer):
    server = make_server({"plugins": {"workers": {**QUICK, "sandbox": "off"}}})
    app = deployed(server)
    found = status(server.admin, app)["sandbox"]
    assert (found["uid"], found["landlock"]) == (None, None)
    facts = result(server.admin, app, "facts")
    assert facts["uid"] == os.geteuid()
    assert "PATH" in facts["environment"]
    assert len(facts["environment"]) == 11


@as_root
def test_where_no_other_account_can_go_the_servers_own_is_used_and_that_is_said(
    make_server: MakeServer, tmp_path: Path
):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    server = make_server({"plugins": {"workers": dict(QUICK)}}, data_dir=private / "data")
    app = deployed(server)
    found = status(server.admin, app)["sandbox"]
    assert found["uid"] is None
    assert "cannot enter the data folder" in found["notes"][0]
    assert result(server.admin, app, "facts")["uid"] == 0


@as_root
def test_an_interpreter_that_no_other_account_reaches_runs_without_roots_powers(
    make_server: MakeServer, tmp_path: Path
):
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    python = private / "python3"
    python.write_text('#!/bin/sh\nexec /usr/bin/python3 "$@"\n')
    python.chmod(0o755)
    settings = {**QUICK, "python": str(python), "readable": [str(private)]}
    server = make_server({"plugins": {"workers": settings}})
    app = deployed(server)
    found = status(server.admin, app)["sandbox"]
    assert (found["uid"], found["program"]) == (None, str(python))
    assert "no other can reach it" in found["notes"][0]
    assert result(server.admin, app, "facts")["uid"] == 0
    assert rpc(server.admin, app, "write", {"path": "$HOME/file"}).status_code == 200
    key = server.kernel.context.data_dir / "config" / "signing.key"
    if landlock_version():
        assert rpc(server.admin, app, "read", {"path": str(key)}).status_code == 500
    memory = f"/proc/{os.getpid()}/environ"
    if landlock_version():
        assert rpc(server.admin, app, "read", {"path": memory}).status_code == 500


# By itself


def run(
    sandbox: Sandbox, code: str, place: Place, files: Sequence[int] = ()
) -> subprocess.CompletedProcess[str]:
    program = "/usr/bin/python3" if ROOT else sys.executable
    command = sandbox.wrap([program, "-c", code], 7, place)
    return subprocess.run(
        command, capture_output=True, text=True, env={}, cwd="/", check=False, timeout=20,
        pass_fds=files,
    )  # fmt: skip


@confined
def test_landlock_alone_keeps_a_worker_of_the_same_account_out(tmp_path: Path):
    """No other limit applies to an ordinary user; here root, which may read everything."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "key").write_text("secret")
    (tmp_path / "home").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "x").write_text("code")
    sandbox = Sandbox(WorkersConfig(), tmp_path / "data")
    sandbox.support.switches = False
    sandbox.prepare()
    place = Place(readable=(tmp_path / "code",), writable=(tmp_path / "home",))
    code = f"""
import os, socket, json
def tried(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    return 0
def put(path):
    with open(path, "w") as file: file.write("x")
print(json.dumps([
    tried(open, "{tmp_path}/data/key"), tried(os.listdir, "{tmp_path}/data"),
    tried(open, "{tmp_path}/code/x"), tried(put, "{tmp_path}/code/x"),
    tried(put, "{tmp_path}/home/y"), tried(os.symlink, "{tmp_path}/data", "{tmp_path}/home/l"),
    tried(open, "{tmp_path}/home/l/key"), tried(open, "/proc/{os.getpid()}/environ"),
    tried(put, "/dev/null"), tried(os.kill, {os.getpid()}, 0),
    tried(os.mknod, "{tmp_path}/code/dev"),
    tried(os.rename, "{tmp_path}/code/x", "{tmp_path}/home/z"),
]))
"""
    done = run(sandbox, code, place)
    assert done.returncode == 0, done.stderr
    denied = 13
    found = json.loads(done.stdout)
    assert found[:6] == [denied, denied, 0, denied, 0, 0]
    assert found[6] == denied
    assert found[7] == denied
    assert found[8] == 0
    if landlock_version() >= 6:
        assert found[9] == 1
    assert found[10] == denied
    assert found[11] in (denied, 18)


MADE = """
umask 077
mkdir -p packages/inner && echo data > packages/inner/data && echo '#!/bin/sh' > packages/tool
chmod 700 packages/tool && chmod 4755 packages/inner/data && chmod 2777 packages/inner
ln -s "$1" packages/link && mkfifo packages/pipe && echo mine > "$2/mine"
"""


@confined
def test_files_of_the_configuration_are_kept_from_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In each folder: here in a folder of programs, which workers may read."""
    folder = tmp_path / "opt"
    folder.mkdir()
    monkeypatch.setattr("plugins.workers.isolation.sandbox.SYSTEM", (*SYSTEM, str(folder)))
    for name in ("caudex.toml", "database-url", "other"):
        (folder / name).write_text(name)
    monkeypatch.setenv("CAUDEX_DATABASE__URL_FILE", str(folder / "database-url"))
    sandbox = Sandbox(WorkersConfig(), tmp_path / "data", str(folder / "caudex.toml"))
    sandbox.support.switches = False
    sandbox.prepare()
    code = f"""
import os
for name in ("caudex.toml", "database-url", "other"):
    try:
        print(open("{folder}/" + name).read())
    except OSError as error:
        print(error.errno)
"""
    assert run(sandbox, code, Place()).stdout.split() == ["13", "13", "other"]


@as_root
def test_what_an_app_installed_it_reads_and_runs_but_does_not_write(
    monkeypatch: pytest.MonkeyPatch,
):
    """Accounts alone see to that: here where there is no Landlock."""
    monkeypatch.setattr("plugins.workers.isolation.sandbox.landlock_version", lambda: 0)
    base = Path(tempfile.mkdtemp(prefix="caudex-code-"))
    base.chmod(0o755)
    folder, home, secret = base / "code", base / "home", base / "secret"
    try:
        for path in (folder, home):
            path.mkdir(0o755)
        (folder / "worker.py").write_text("code")
        secret.write_text("of the server")
        secret.chmod(0o600)
        sandbox = Sandbox(WorkersConfig(), base)
        sandbox.prepare()
        uid = sandbox.find_uid(7)
        assert uid is not None
        os.chown(home, uid, uid)

        def as_app(code: str) -> int:
            argv = ["/bin/sh", "-ec", f"cd {folder}\n{code}", "sh", str(secret), str(home)]
            command = sandbox.wrap(argv, 7, Place())
            done = subprocess.run(command, capture_output=True, check=False, env={}, cwd="/")
            return done.returncode

        give_to_account(folder, uid)
        assert as_app("echo more >> worker.py") == 0
        assert as_app(MADE) == 0
        os.link(secret, folder / "packages" / "theirs")
        reclaim(folder, uid)
        assert as_app("cat worker.py packages/inner/data && packages/tool && ls packages") == 0
        for code in (
            "echo x >> worker.py", "rm worker.py", "echo x > new", "echo x > packages/new",
            "echo x >> packages/inner/data", "echo x > packages/inner/new", "rm -f packages/link",
            "mv packages other", "chmod u+w worker.py", "cat packages/theirs", "cat packages/link",
        ):  # fmt: skip
            assert as_app(code) != 0, code
        assert secret.stat().st_mode & 0o777 == 0o600
        assert secret.stat().st_gid == 0
        assert (folder / "packages" / "inner" / "data").stat().st_mode & 0o7777 == 0o755
        assert (folder / "packages" / "inner").stat().st_mode & 0o7777 == 0o755
        assert (home / "mine").stat().st_uid == uid
    finally:
        shutil.rmtree(base)


def account(uid: int, name: str) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))


@as_root
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"uid_base": 60_000}, "nobody"),
        ({"uid_base": 4_990, "uid_count": 11}, "alice"),
        ({"uid_base": 5_000, "uid_count": 1}, "alice"),
    ],
)
def test_no_app_gets_an_account_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int], name: str
):
    accounts = [account(0, "root"), account(5_000, "alice"), account(65_534, "nobody")]
    monkeypatch.setattr("pwd.getpwall", lambda: accounts)
    with pytest.raises(BootError, match=f"uid_base: .* is {name}; choose") as error:
        Sandbox(WorkersConfig(**settings), tmp_path).prepare()
    assert len(str(error.value).splitlines()) == 1
    beside = WorkersConfig(uid_base=5_001, uid_count=60_533)
    for config in (beside, WorkersConfig(**settings, sandbox="off")):
        Sandbox(config, tmp_path).prepare()


@as_root
def test_no_app_gets_the_account_of_the_embedded_database(tmp_path: Path):
    """Which no list of accounts need have: here no one's uid, where a cluster would be."""
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", 203_000, 203_000)
    with pytest.raises(BootError, match=r"203000 is the owner of .*/postgres"):
        Sandbox(WorkersConfig(), tmp_path).prepare()


def test_files_of_the_server_are_closed(tmp_path: Path):
    sandbox = Sandbox(WorkersConfig(), tmp_path)
    sandbox.prepare()
    with open(os.devnull) as one, open(os.devnull) as other:
        files = [os.dup2(one.fileno(), 150), other.fileno()]
        done = run(sandbox, "import os; print(os.listdir('/proc/self/fd'))", Place(), files)
        os.close(150)
    assert done.stdout == "['0', '1', '2', '3']\n", done.stderr


def test_limits_are_set_for_good(tmp_path: Path):
    config = WorkersConfig(memory_mb=512, files=64, file_mb=1)
    sandbox = Sandbox(config, tmp_path)
    sandbox.prepare()
    code = """
import resource, json
names = ["DATA", "NOFILE", "FSIZE", "CORE"]
print(json.dumps([resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names]))
"""
    done = run(sandbox, code, Place())
    mb = 2**20
    assert json.loads(done.stdout) == [[512 * mb] * 2, [64] * 2, [mb] * 2, [0] * 2]


BOMB = """
import json, os, sys, time
made, file = 0, open("/proc/self/status")
try:
    while made < 100:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except OSError:
    pass
powers = [line.split()[1] for line in file if line.startswith("CapEff")]
print(json.dumps([made, os.getuid(), os.getgid(), powers]), flush=True)
os.killpg(0, 9)
"""
BOMBS = """
import json, pathlib, subprocess, sys
from plugins.workers.config import WorkersConfig
from plugins.workers.isolation.sandbox import Sandbox
from plugins.workers.isolation.wrapping import Place

sandbox = Sandbox(WorkersConfig(processes=30), pathlib.Path(sys.argv[1]))
sandbox.prepare()
program, said = str(pathlib.Path(sys.executable).resolve()), []
others = [subprocess.Popen(["/bin/sleep", "60"]) for _ in range(50)]
for _ in range(2):
    command = sandbox.wrap([program, "-I", "-S", "-c", sys.argv[2]], 7, Place())
    done = subprocess.run(command, stdout=subprocess.PIPE, env={}, cwd="/", start_new_session=True)
    said.append(json.loads(done.stdout))
for each in others:
    each.kill()
print(json.dumps([said, sandbox.describe_limits(None)]))
"""


@pytest.mark.parametrize(
    ("two", "one", "counts"), [(True, False, True), (False, False, False), (True, True, False)]
)
def test_only_what_counts_apart_and_does_limit_is_taken_for_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: bool, one: bool, counts: bool
):
    """An older Linux counts the whole account; others may have no such namespace, or no limit."""

    def succeeds(command: Sequence[str]) -> bool:
        settings = json.loads(command[4])
        if command[5] == "/bin/sh":  # a test of what else there is
            return True
        assert settings["counts"]
        return {2: two, 1: one}[settings["limits"]["NPROC"]]

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("plugins.workers.isolation.sandbox.landlock_version", lambda: 7)
    monkeypatch.setattr("plugins.workers.isolation.sandbox._succeeds", succeeds)
    sandbox = Sandbox(WorkersConfig(processes=30), tmp_path)
    sandbox.prepare()
    settings = json.loads(sandbox.wrap(["/bin/true"], 7, Place())[4])
    assert settings["counts"] is counts
    assert settings["limits"].get("NPROC") == sandbox.describe_limits(None)["processes"]
    assert sandbox.describe_limits(None)["processes"] == (30 if counts else None)
    assert ("nothing limits how many processes a worker starts" in sandbox.notes) is not counts


def as_ordinary_user(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run our Python, or another of its version that such a user reaches, with our code."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    account = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": ()} if ROOT else {}
    path = os.pathsep.join([str(ABOVE), *filter(os.path.isdir, sys.path)])

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={"PYTHONPATH": path}, cwd="/", capture_output=True, text=True, check=False,
            timeout=60, **account,
        )  # fmt: skip

    for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        reaches = '"$1" -c "import plugins.workers"'
        if run("/bin/sh", "-c", reaches, "sh", program).returncode == 0:
            return run(program, *arguments)
    pytest.skip("no interpreter that an ordinary user can run with this code")


@pytest.mark.slow
def test_a_fork_bomb_of_an_ordinary_user_stays_small_however_many_others_there_are():
    """Or else the status says that nothing limits it."""
    data = Path(tempfile.mkdtemp(prefix="caudex-bomb-"))
    data.chmod(0o755)
    try:
        done = as_ordinary_user("-c", BOMBS, str(data), BOMB)
    finally:
        shutil.rmtree(data)
    assert done.returncode == 0, done.stderr
    said, status = json.loads(done.stdout.splitlines()[-1])
    if status["processes"] is None:
        assert "nothing limits how many processes a worker starts" in status["notes"]
        return
    uid, gid = (UNPRIVILEGED, UNPRIVILEGED) if ROOT else (os.getuid(), os.getgid())
    assert status["processes"] == 30
    assert said == [[29, uid, gid, ["0" * 16]]] * 2


def test_a_launcher_whose_server_is_gone_does_not_start_anything(tmp_path: Path):
    sandbox = Sandbox(WorkersConfig(sandbox="off"), tmp_path)
    sandbox.prepare()
    command = sandbox.wrap(["/bin/echo", "ran"], 1, Place())
    settings = json.loads(command[4]) | {"parent": 1}
    command[4] = json.dumps(settings)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if sys.platform.startswith("linux"):
        assert (done.returncode, done.stdout) == (1, "")
        assert "gone" in done.stderr


def test_a_machine_without_anything_is_refused_where_something_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("plugins.workers.isolation.sandbox.landlock_version", lambda: 0)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(
        "plugins.workers.isolation.sandbox.ctypes.CDLL", lambda _: pytest.fail("too late")
    )
    with pytest.raises(BootError, match="sandbox"):
        Sandbox(WorkersConfig(sandbox="required"), tmp_path).prepare()


def test_a_hidden_folder_is_left_out_by_naming_its_neighbours(tmp_path: Path):
    for name in ("a/x", "a/hidden/deep", "b", "c"):
        (tmp_path / name).mkdir(parents=True)
    root = str(tmp_path)
    assert around(root, [f"{root}/a/hidden"]) == [f"{root}/a/x", f"{root}/b", f"{root}/c"]
    assert around(root, ["/elsewhere"]) == [root]
    assert around(root, [root]) == []
    assert around(f"{root}/absent", [f"{root}/absent/x"]) == []
