"""The commands that call a gateway: get, export, proxy, chat, health."""

from __future__ import annotations

import json
from typing import Any

import click

from .._core.masking import Mask, StreamMask
from ._caller import base_url_option, caller, client_at, token_from
from ._output import on_terminal, printable


@click.command()
@caller
def get(token_file: str | None, base_url: str | None) -> None:
    """Print the secret that the token opens.

    In a pipe no newline comes after it. The token comes from --token-file, OO_TOKEN or standard input, never from an
    argument.

    Example: OO_TOKEN=... oo get
    """
    token = token_from(token_file)
    with client_at(base_url) as client:
        # Bytes: what the secret is does not depend on the locale.
        click.echo(client.get_secret(token).encode("utf-8"), nl=on_terminal())


@click.command()
@click.argument("path", default=".env")
@click.option("--append", is_flag=True, help="Add to the file instead of replacing it.")
@click.option("--allow", multiple=True, metavar="NAME", help="Take this variable though it steers how programs load.")
@caller
def export(path: str, append: bool, allow: tuple[str, ...], token_file: str | None, base_url: str | None) -> None:
    """Write the environment that the token opens to a file.

    The file, .env unless told, can be read by nobody but you.

    Example: OO_TOKEN=... oo export .env
    """
    token = token_from(token_file)
    with client_at(base_url) as client:
        env = client.export_env(token, path, not append, allow=allow)
    click.echo(f"{path}: {', '.join(env)}", err=True)


@click.command()
@click.argument("path")
@click.option("-X", "--method", metavar="METHOD", help="The method; GET without a payload, POST with one.")
@click.option(
    "-d", "--data", metavar="JSON|@FILE", help="The payload, or the file that holds it; @- for standard input."
)
@caller
def proxy(path: str, method: str | None, data: str | None, token_file: str | None, base_url: str | None) -> None:
    """Call the API behind the token's route, and print its JSON.

    Example: OO_TOKEN=... oo proxy v1/models
    """
    token = token_from(token_file)
    payload = None if data is None else _payload(data)
    with client_at(base_url) as client:
        answer = client.proxy(path, token, method or ("GET" if data is None else "POST"), payload)
    # Some terminals obey characters that JSON need not escape.
    try:
        shown = json.dumps(Mask([token]).json(answer), indent=2, ensure_ascii=on_terminal())
    except RecursionError:
        raise click.ClickException("the answer is nested too deeply to be printed") from None
    click.echo(shown.encode("utf-8", "backslashreplace"))


@click.command()
@click.argument("text")
@click.option("--model", default="gpt-4o-mini", show_default=True, help="The model to ask.")
@caller
def chat(text: str, model: str, token_file: str | None, base_url: str | None) -> None:
    """Say something to a model, and print what it answers as it comes.

    The token opens a route to an API of OpenAI's kind.

    Example: OO_TOKEN=... oo chat "Hello!"
    """
    token = token_from(token_file)
    messages = [{"role": "user", "content": text}]
    mask, said = Mask([token]), False
    hidden = StreamMask(mask)
    with client_at(base_url) as client, client.chat_completion(token, messages, model, stream=True) as chunks:
        try:
            for part in filter(None, (_text(chunk, mask) for chunk in chunks)):
                said = True
                _show(hidden.feed(part.encode("utf-8", "surrogatepass")))
        finally:
            # Also where it breaks off: the error has a line of its own.
            _show(hidden.finish())
            click.echo("", nl=said)
    if not said:
        raise click.ClickException("the answer is no chat completion with a text")


@click.command()
@base_url_option
def health(base_url: str | None) -> None:
    """Say whether the gateway is up.

    Example: oo health
    """
    with client_at(base_url) as client:
        client.health()
    click.echo("up")


def _text(chunk: dict[str, Any], mask: Mask) -> str:
    """What a chunk adds to the answer's text: "" for one that tells of something else, such as the usage."""
    if "error" in chunk:
        raise click.ClickException(f"the API broke off: {printable(json.dumps(mask.json(chunk['error'])))}")
    try:
        text = chunk["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def _show(said: bytes) -> None:
    text = said.decode("utf-8", "surrogatepass")
    shown = printable(text, kept="\n\t") if on_terminal() else text
    click.echo(shown.encode("utf-8", "backslashreplace"), nl=False)


def _payload(data: str) -> Any:
    if data.startswith("@"):
        with click.open_file(data[1:], encoding="utf-8") as file:
            data = file.read()
    try:
        return json.loads(data)
    except ValueError:
        raise click.ClickException("the payload is not JSON") from None
