"""Which endpoint to talk to and with which keys. Reads options, environment and yard files only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from batchyard.cli.faults import CommandFault, Denied, UsageFault
from batchyard.cli.signing import Credentials
from batchyard.cli.yard import live_server, read_credentials, read_server, yard_home


@dataclass(frozen=True, kw_only=True)
class Connection:
    """`source` names where the endpoint came from: 'yard', '--endpoint' or a variable."""

    endpoint: str
    logs_endpoint: str
    region: str
    credentials: Credentials
    source: str
    credentials_source: str
    yard_endpoint: str = ""


def find_connection(
    *,
    endpoint: str | None,
    region: str | None,
    home: Path | None,
    environ: Mapping[str, str],
) -> Connection:
    """Choose endpoint, region and keys.

    An endpoint that was named (option, AWS_ENDPOINT_URL_BATCH, AWS_ENDPOINT_URL) wins over the
    running yard. The keys of the environment go only to an endpoint that was named: the
    keys of a real AWS account are never sent to the yard because they happened to be set.

    Raises:
        CommandFault: no endpoint was named and no yard runs.
        Denied: an endpoint was named and no keys were found for it.
    """
    place = yard_home(home, environ)
    named, source = _named_endpoint(endpoint, environ)
    if home is not None and endpoint is None:
        # --home on the command line is nearer than a variable of the environment.
        named = ""
    live = live_server(place)
    if not named:
        if live is None:
            raise no_yard(place)
        credentials = read_credentials(place)
        if credentials is None:
            raise Denied(
                f"the yard at {place} runs but its credentials.json is missing",
                hint="restart it with `batchyard down` and `batchyard up`; it makes new keys",
            )
        return Connection(
            endpoint=live.endpoint,
            logs_endpoint=live.endpoint,
            region=region or live.region,
            credentials=credentials,
            source="yard",
            credentials_source=str(place / "credentials.json"),
            yard_endpoint=live.endpoint,
        )

    _check_url(named, source)
    chosen_region = (
        region
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION")
        or (live.region if live else "us-east-1")
    )
    credentials, credentials_source = _environment_keys(environ)
    if credentials is None and live is not None and live.endpoint == named:
        credentials, credentials_source = (
            read_credentials(place),
            str(place / "credentials.json"),
        )
    if credentials is None:
        raise Denied(
            f"no credentials for {named} (named by {source})",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            'or for the yard of this machine: eval "$(batchyard env-vars)"',
        )
    return Connection(
        endpoint=named,
        logs_endpoint=_logs_endpoint(named, environ, explicit=endpoint is not None),
        region=chosen_region,
        credentials=credentials,
        source=source,
        credentials_source=credentials_source,
        yard_endpoint=live.endpoint if live else "",
    )


def no_yard(place: Path) -> CommandFault:
    if read_server(place) is not None:
        return CommandFault(
            f"the yard at {place} is not running: its server ended without a clean stop",
            hint="`batchyard up` starts it again and takes back the jobs it left running",
        )
    return CommandFault(
        f"no yard is running at {place}",
        hint="start one with `batchyard up`, or name an endpoint with --endpoint",
    )


def _named_endpoint(endpoint: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    if endpoint:
        return endpoint.rstrip("/"), "--endpoint"
    for variable in ("AWS_ENDPOINT_URL_BATCH", "AWS_ENDPOINT_URL"):
        if environ.get(variable):
            return environ[variable].rstrip("/"), variable
    return "", ""


def _environment_keys(environ: Mapping[str, str]) -> tuple[Credentials | None, str]:
    key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None, ""
    token = environ.get("AWS_SESSION_TOKEN", "")
    found = Credentials(access_key_id=key, secret_access_key=secret, session_token=token)
    return found, "AWS_ACCESS_KEY_ID"


def _logs_endpoint(named: str, environ: Mapping[str, str], *, explicit: bool) -> str:
    if not explicit and environ.get("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"):
        return environ["AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"].rstrip("/")
    # AWS: each service has a host of its own, unlike a yard, where one port answers for all.
    host = urlsplit(named).hostname or ""
    if host.startswith("batch.") and ".amazonaws.com" in host:
        return named.replace("://batch.", "://logs.", 1)
    return named


def _check_url(url: str, source: str) -> None:
    parts = urlsplit(url)
    try:
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        port_is_number = False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_number:
        raise UsageFault(
            f"{source} is {url!r}, which is not an address",
            hint="write it like http://127.0.0.1:7460",
        )
