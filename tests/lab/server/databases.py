"""The real databases of a simulated server: how they are started, asked and emptied.

They listen on 0.0.0.0, as such servers' databases do, and have a known administrator each: MariaDB `root`, PostgreSQL
`postgres`, Redis' default user. They take little memory and never wait for a disk.
"""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

MYSQL_INIT = Path("/run/lab-mysql-init.sql")
REDIS_CONFIG = Path("/etc/redis/lab.conf")


def _as_user(user):
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups"]


def _mysql(port, passwords):
    return [
        "mariadbd", "--no-defaults", "--user=mysql", "--datadir=/var/lib/mysql", f"--port={port}",
        "--bind-address=0.0.0.0", "--socket=/run/mysqld/mysqld.sock", "--pid-file=/run/mysqld/mysqld.pid",
        f"--init-file={MYSQL_INIT}", "--skip-name-resolve", "--plugin-load-add=auth_socket", "--skip-log-bin",
        "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--innodb-flush-method=nosync",
        "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--performance-schema=OFF",
        "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M", "--max-connections=100",
    ]  # fmt: skip


def _postgres(port, passwords):
    (binary,) = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    (settings,) = Path("/etc/postgresql").glob("*/main/postgresql.conf")
    return [
        *_as_user("postgres"), binary, f"--config-file={settings}", "-c", f"port={port}", "-c",
        "listen_addresses=0.0.0.0",
        "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "shared_buffers=16MB",
        "-c", "max_connections=100", "-c", "logging_collector=off", "-c", "ssl=off", "-c", "autovacuum=off",
    ]  # fmt: skip


def _redis(port, passwords):
    return [*_as_user("redis"), "redis-server", str(REDIS_CONFIG), "--port", str(port)]


COMMANDS = {"mysql": _mysql, "postgres": _postgres, "redis": _redis}


def prepare(name):
    """Folders and files that a database wants before it starts."""
    if name == "mysql":
        _folder("/run/mysqld", "mysql")
    elif name == "postgres":
        _folder("/run/postgresql", "postgres")


def write_passwords(passwords):
    """The administrators' passwords, where the servers read them when they start."""
    if shutil.which("mariadbd"):
        word = passwords["mysql"].replace("'", "''")
        _secret(MYSQL_INIT, "mysql", f"CREATE OR REPLACE USER root@'%' IDENTIFIED BY '{word}';\n"
                "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n")  # fmt: skip
    if shutil.which("redis-server"):
        lines = ["bind 0.0.0.0", "protected-mode no", 'save ""', "appendonly no", "daemonize no", "maxmemory 64mb",
                 "dir /var/lib/redis", "requirepass {}".format(passwords["redis"])]  # fmt: skip
        _secret(REDIS_CONFIG, "redis", "\n".join(lines) + "\n")


def after_start(name, passwords):
    """What can only be told to a server that runs."""
    if name == "postgres":
        word = passwords["postgres"].replace("'", "''")
        postgres(f"ALTER USER postgres PASSWORD '{word}'")


def ready(name, port, passwords):
    """Whether a database answers a query; True for what is no database."""
    try:
        if name == "mysql":
            mysql("SELECT 1")
        elif name == "postgres":
            postgres("SELECT 1")
        elif name == "redis":
            redis(port, passwords, "PING")
    except subprocess.CalledProcessError:
        return False
    return True


def mysql(statements):
    """Run SQL as the administrator, by the socket; the lines of the answer."""
    return _lines(["mariadb", "--no-defaults", "-u", "root", "-S", "/run/mysqld/mysqld.sock", "-BN"], statements)


def postgres(statements, database="postgres"):
    """Run SQL as the administrator, by the socket; the lines of the answer."""
    port = _socket_port()
    return _lines(
        [*_as_user("postgres"), "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-p", port, "-d", database], statements
    )


def _socket_port():
    """The port in the name of PostgreSQL's socket: the one that was configured."""
    names = list(Path("/run/postgresql").glob(".s.PGSQL.*[0-9]"))
    return names[0].suffix[1:] if names else "5432"


def redis(port, passwords, *words):
    """Run one command as the administrator; the lines of the answer."""
    env = {**os.environ, "REDISCLI_AUTH": passwords["redis"]}
    return _lines(["redis-cli", "--no-auth-warning", "-e", "-p", str(port), *words], "", env)


def empty(name, port, passwords):
    """Leave nothing that somebody made: databases, users, keys."""
    if name == "mysql":
        _empty_mysql()
    elif name == "postgres":
        _empty_postgres()
    elif name == "redis":
        redis(port, passwords, "FLUSHALL")
        users = redis(port, passwords, "ACL", "USERS")
        for user in users:
            if user != "default":
                redis(port, passwords, "ACL", "DELUSER", user)


def _empty_mysql():
    drops = mysql(
        "SELECT CONCAT('DROP DATABASE `', schema_name, '`;') FROM information_schema.schemata"
        " WHERE schema_name NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema');"
        " SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.global_priv"
        " WHERE user NOT IN ('root', 'mysql', 'mariadb.sys');"
    )
    if drops:
        mysql("\n".join(drops))


def _empty_postgres():
    found = postgres(
        "SELECT 'DROP DATABASE ' || quote_ident(datname) || ' WITH (FORCE);' FROM pg_database"
        " WHERE datname NOT IN ('postgres', 'template0', 'template1');"
        " SELECT quote_ident(rolname) FROM pg_roles WHERE rolname <> 'postgres' AND rolname !~ '^pg_'"
    )
    # DROP DATABASE runs outside of a transaction: one statement at a time, as psql does with stdin.
    drops = [line for line in found if line.startswith("DROP DATABASE ")]
    roles = [line for line in found if line not in drops]
    if drops or roles:
        owned = [f"DROP OWNED BY {role} CASCADE; DROP ROLE {role};" for role in roles]
        postgres("\n".join([*drops, *owned]))


def _lines(words, statements, env=None):
    done = subprocess.run(
        words, input=statements, env=env, capture_output=True, text=True,
        check=True, cwd="/",
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line]


def _folder(path, user):
    Path(path).mkdir(exist_ok=True)
    shutil.chown(path, user, user)


def _secret(path, user, text):
    path.write_text("")
    path.chmod(0o600)
    entry = pwd.getpwnam(user)
    os.chown(str(path), entry.pw_uid, entry.pw_gid)
    path.write_text(text)
