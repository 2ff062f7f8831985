"""The Python that serves: the interpreter, what is installed in it, what can be imported."""
