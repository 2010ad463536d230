"""The `sovits-rt` command and how its failures look: one line, no traceback for a user's mistake."""

import logging
import sys

import click

from autotune.errors import AutotuneError
from sovits_rt import __version__
from sovits_rt.cli.doctor import doctor_command
from sovits_rt.cli.evaluate import evaluate_command
from sovits_rt.cli.export import export_group
from sovits_rt.cli.inspect import inspect_command
from sovits_rt.cli.machine import probe_command
from sovits_rt.cli.monitor import monitor_command
from sovits_rt.cli.profile import profile_group
from sovits_rt.cli.synth import synth_command
from sovits_rt.cli.text import text_command
from sovits_rt.cli.tune import report_command, tune_command
from sovits_rt.errors import SovitsError

NAME = "sovits-rt"
INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name=NAME)
@click.option("-v", "--verbose", is_flag=True, help="Show log messages.")
def cli(verbose: bool) -> None:
    """GPT-SoVITS text-to-speech that measures how this machine runs it best."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(name)s: %(message)s")


for command in (
    synth_command,
    text_command,
    evaluate_command,
    tune_command,
    report_command,
    probe_command,
    doctor_command,
    profile_group,
    inspect_command,
    export_group,
    monitor_command,
):
    cli.add_command(command)


def main() -> None:
    """Entry point of the console script."""
    try:
        cli.main(prog_name=NAME, standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        fail(usage_sentence(error), 2)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except (SovitsError, AutotuneError) as error:
        fail(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        fail("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing is wrong here
        sys.exit(1)


def fail(sentence: str, code: int) -> None:
    click.echo(f"{NAME}: {' '.join(sentence.split())}", err=True)
    sys.exit(code)


def usage_sentence(error: click.UsageError) -> str:
    what = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption):
        near = f" (similar: {', '.join(sorted(error.possibilities))})" if error.possibilities else ""
        what = f"There is no option {error.option_name}{near}"
    return f"{what}; see `{NAME if error.ctx is None else error.ctx.command_path} --help`."
