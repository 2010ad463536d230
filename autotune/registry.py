"""One file in a folder is one plug-in: no list to edit when another is added."""

import importlib
import pkgutil
from typing import Any

from autotune.errors import AutotuneError


def plugins(package: str, attribute: str) -> dict[str, Any]:
    """Import every public module of `package`; return {module name: its `attribute`}, sorted by name.

    package: dotted name of an importable folder. Modules whose name starts with "_" are helpers, not plug-ins.
    Raises AutotuneError naming the file that fails to import or that lacks the attribute.
    """
    folder = importlib.import_module(package)
    if not hasattr(folder, "__path__"):
        raise AutotuneError(f"{package} is one module, not a folder of plug-ins; name the folder.")
    names = sorted(info.name for info in pkgutil.iter_modules(folder.__path__) if not info.name.startswith("_"))
    return {name: _load(f"{package}.{name}", attribute) for name in names}


def _load(module_name: str, attribute: str) -> Any:
    path = module_name.replace(".", "/") + ".py"
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError, NameError, AttributeError, TypeError, ValueError) as error:
        raise AutotuneError(f"Plug-in {path} does not import: {type(error).__name__}: {error}.") from error
    if not hasattr(module, attribute):
        raise AutotuneError(f"Plug-in {path} does not define {attribute}; every file in that folder must.")
    return getattr(module, attribute)
