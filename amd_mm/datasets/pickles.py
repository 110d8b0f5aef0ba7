"""Safe reading of pickled numbers: AVA's box proposals, predictions of ``--dump``."""

import pickle

_NUMPY = ('numpy.core', 'numpy._core')  # NumPy 1 and 2
_ALLOWED = {
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    *((f'{core}.multiarray', name) for core in _NUMPY for name in ('_reconstruct', 'scalar')),
    *((f'{core}.numeric', '_frombuffer') for core in _NUMPY),  # protocol 5
    ('_codecs', 'encode'),  # bytes in protocol 2
    ('__builtin__', 'bytes'),
    ('builtins', 'bytes'),
}


class NumbersUnpickler(pickle.Unpickler):
    """Reads containers, text, numbers and arrays, and refuses every other class or function.

    This is the way of Python's documentation ("restricting globals"). ``torch.load`` with
    ``weights_only=True`` does the same, but only for files of ``torch.save``.
    """

    def find_class(self, module: str, name: str) -> object:
        """Return an allowed function."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f'it holds {module}.{name}; only plain containers and arrays of numbers are read'
            )
        return super().find_class(module, name)
