"""Languages that workers are written in."""

from .javascript import JavaScriptRuntime
from .programs import Runtimes
from .python import PythonRuntime

__all__ = ["JavaScriptRuntime", "PythonRuntime", "Runtimes"]
