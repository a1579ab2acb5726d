"""Logging in to Redis, with redis-py."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from standin.target import Target
from standin.trouble import Missing, Refused, missing


def client(target: Target, timeout: float) -> Any:
    """A client that connects at its first command. Untyped, because redis-py's annotations are partly unknown."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis(
        host=target.host,
        port=target.port,
        db=int(target.database or 0),
        username=target.user or None,
        password=target.password or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def told(call: Callable[[], Any]) -> Any:
    """What `call` gives; raises `Missing` or `Refused` in the place of redis-py's own errors."""
    import redis

    try:
        return call()
    except redis.BusyLoadingError as error:  # a ConnectionError
        raise Missing("redis is loading its data") from error
    except (redis.AuthenticationError, redis.MaxConnectionsError, redis.ResponseError) as error:
        raise Refused(str(error)) from error  # an AuthenticationError is a ConnectionError too
    except redis.RedisError as error:
        raise missing(error, "redis") from error


def check(target: Target, timeout: float) -> str:
    """The server's version, after a login and a query."""
    connected = client(target, timeout)
    try:
        answer = cast(Mapping[str, object], told(lambda: connected.info("server")))
        return str(answer.get("redis_version", "unknown"))
    finally:
        connected.close()
