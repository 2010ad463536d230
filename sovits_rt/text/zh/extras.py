"""Loading of the optional packages that Mandarin needs, at first use."""

import importlib
import warnings
from types import ModuleType

from sovits_rt.errors import MissingExtraError


def load_optional(module: str, extra: str) -> ModuleType:
    """Import an optional module. Raises MissingExtraError naming the extra where its package is not installed."""
    package = module.partition(".")[0]
    with warnings.catch_warnings():
        # jieba 0.42.1 has invalid escapes in its strings and asks for pkg_resources: both warn on recent Pythons.
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != package:
                raise
    raise MissingExtraError(
        f'Chinese text needs the package {package!r}, which is not installed: pip install "sovits-rt[{extra}]"'
    )
