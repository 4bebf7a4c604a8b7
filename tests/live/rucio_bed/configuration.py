"""The files that Rucio's server and daemons read, in the folder that RUCIO_HOME names."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path
from typing import Final

IDENTITY: Final = "tests"  # the user who may be any account
PASSWORD: Final = "password-of-tests"


def write_configuration(home: Path, database: str, site_packages: Path) -> None:
    """`etc/rucio.cfg` and `etc/alembic.ini` below `home`. `database` is a URL of SQLAlchemy."""
    (home / "etc").mkdir(parents=True)
    _write(home / "etc" / "rucio.cfg", _rucio(home, database, site_packages))
    _write(home / "etc" / "alembic.ini", _alembic(database, site_packages))


def _write(path: Path, sections: dict[str, dict[str, str]]) -> None:
    parser = ConfigParser(interpolation=None)
    parser.read_dict(sections)
    with path.open("w") as file:
        parser.write(file)


def _rucio(home: Path, database: str, site_packages: Path) -> dict[str, dict[str, str]]:
    """Rucio's manual, "Configuration parameters". An empty identity below `bootstrap` is not made."""
    identities = dict.fromkeys(("x509_identity", "gss_identity", "ssh_identity"), "")
    user = {"userpass_identity": IDENTITY, "userpass_pwd": PASSWORD, "userpass_email": "root@example.org"}
    mails = str(site_packages.parents[2] / "rucio" / "etc" / "mail_templates")  # of requests for approval
    return {
        "common": {"logdir": str(home), "loglevel": "WARNING", "mailtemplatedir": mails},
        "database": {"default": database},
        "bootstrap": {**identities, **user},
        "alembic": {"cfg": str(home / "etc" / "alembic.ini")},
        "policy": {"permission": "generic", "schema": "generic", "lfn2pfn_algorithm_default": "hash"},
        "conveyor": {"scheme": "file", "transfertool": "fts3", "use_preparer": "false"},
        "monitor": {"enable_metrics": "false"},
    }


def _alembic(database: str, site_packages: Path) -> dict[str, dict[str, str]]:
    """The migrations of the schema stamp a new database; they refuse to run without the logging sections."""
    migrations = str(site_packages / "rucio" / "db" / "sqla" / "migrate_repo")
    stderr = {"class": "StreamHandler", "args": "(sys.stderr,)", "level": "NOTSET", "formatter": "plain"}
    return {
        "alembic": {"script_location": migrations, "sqlalchemy.url": database.replace("%", "%%")},
        "loggers": {"keys": "root"},
        "handlers": {"keys": "stderr"},
        "formatters": {"keys": "plain"},
        "logger_root": {"level": "WARNING", "handlers": "stderr"},
        "handler_stderr": stderr,
        "formatter_plain": {"format": "%(levelname)s %(name)s %(message)s"},
    }
