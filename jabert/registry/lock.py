"""The lock around a change of aliases: a file for one machine, a PostgreSQL advisory lock for several."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jabert.config import Settings, is_url, local_database, revealed
from jabert.errors import JabertError, reason_of
from jabert.files import digest_of_json, exclusive


def lock_location(settings: Settings) -> str:
    """`promotion.lock`, or without it a file that is the same for all processes of this machine.

    The file is next to a local database, or for a server in the system's folder of temporary files.
    """
    if settings.promotion.lock:
        return settings.promotion.lock
    if database := local_database(settings.tracking.uri):
        return str(database.with_name("promotion.lock"))
    store = digest_of_json(settings.tracking.uri)[:16]
    return str(Path(tempfile.gettempdir()) / f"jabert-promotion-{store}.lock")


@contextmanager
def promotion_lock(location: str, name: str) -> Iterator[None]:
    """Hold the promotion lock of a registered model; wait while another process holds it.

    Kernel and database free the lock of a process that was killed.

    Args:
        location: path of a file, or URL of a PostgreSQL database.
        name: name of the registered model.

    Raises:
        JabertError: the file cannot be written or the database cannot be reached; names file or setting.
    """
    if not is_url(location):
        with exclusive(Path(location), f"another process changes the champion of {name!r}; waiting for it"):
            yield
        return
    from sqlalchemy import NullPool, create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    # The key is a signed 64-bit integer: PostgreSQL's manual, section 13.3.5.
    key = int.from_bytes(hashlib.sha256(f"jabert:{name}".encode()).digest()[:8], signed=True)
    try:
        engine = create_engine(revealed(location), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        connection = engine.connect()
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except ModuleNotFoundError as error:
        message = f"promotion.lock {location}: {error.name} is missing; install jabert[postgresql]"
        raise JabertError(message) from None
    except SQLAlchemyError as error:
        message = f"promotion.lock {location}: the database cannot be reached ({reason_of(error)})"
        raise JabertError(message) from error
    try:
        yield
    finally:
        connection.close()  # frees the lock
