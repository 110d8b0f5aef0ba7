"""Read checkpoints of MMEngine and VideoMAE without trusting the file.

``torch.load(weights_only=True)`` refuses everything but tensors and plain
containers. The public VideoMAE and AMD programs also save their arguments, a
plain ``argparse.Namespace``. A checkpoint of MMEngine holds one thing more:
the message hub's ``HistoryBuffer`` objects (two NumPy arrays and a table of
their own methods), and perhaps a NumPy number (``best_score``). The usual
advice is to allow ``getattr`` and NumPy's own reconstructors. But ``getattr``
reaches anything, and ``numpy.dtype.__setstate__`` believes whatever memory
layout a file claims. Here the same names are read by the small classes below,
which accept numbers (bool, int, float, complex) and nothing else.

What a file can reach, and why each is harmless:

========================================  ====================================
name in the file                          read by
========================================  ====================================
``mmengine.…HistoryBuffer``               :class:`_HistoryReader`: takes two
                                          arrays and a length
``getattr``                               :func:`_history_method`: looks up
                                          methods of HistoryBuffer only
``numpy.ndarray``, ``…._reconstruct``     :class:`_CheckedArray`: numbers only,
                                          size checked against the data
``numpy.dtype``                           :class:`_CheckedDtype`: a type code
                                          of a number, e.g. ``f8``
``numpy.….scalar``                        :func:`_checked_scalar`: one number
``bytes``                                 :func:`_no_bytes`: of no arguments
``argparse.Namespace``                    itself: a bag of attributes, as
                                          safe as what is in it
========================================  ====================================
"""

import os
import pickle
import re
import types
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pickle import UnpicklingError
from typing import Any, BinaryIO, SupportsIndex

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_MULTIARRAY = ('numpy.core.multiarray', 'numpy._core.multiarray')  # 1.x, 2.x


class _HistoryReader(HistoryBuffer):
    """Reads a pickled ``HistoryBuffer``, and then is one."""

    def __setstate__(self, state: dict) -> None:
        """Take the histories; the class knows its methods by itself."""
        histories = ('_log_history', '_count_history')
        if not all(isinstance(state[name], np.ndarray) for name in histories):
            raise UnpicklingError('checkpoint holds a log history that is not an array of numbers')
        arrays = {name: np.array(state[name]) for name in histories}
        super().__setstate__({'max_length': state['max_length'], **arrays})
        self.__class__ = HistoryBuffer


def _history_method(owner: type, name: str) -> Callable:
    """Look up a method of ``HistoryBuffer``, where a file says getattr."""
    if owner is not _HistoryReader or name not in vars(HistoryBuffer):
        raise UnpicklingError(
            f'checkpoint asks for attribute {name!r} of {owner!r}, which no log history needs'
        )
    return getattr(HistoryBuffer, name)


class _CheckedDtype:
    """The data type of numbers, read from a pickled ``numpy.dtype``."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        if not (isinstance(code, str) and re.fullmatch(r'[biufc]\d+', code)):
            raise UnpicklingError(
                f'checkpoint holds NumPy data of type {code!r}; only numbers are read'
            )
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        """Take the byte order; any structure inside is refused."""
        byte_order, *structure = state[1:5]
        if any(part is not None for part in structure):
            raise UnpicklingError('checkpoint holds structured NumPy data; only numbers are read')
        self.dtype = self.dtype.newbyteorder(byte_order)


class _CheckedArray(np.ndarray):
    """An array of numbers; it is written to a file as a plain array."""

    def __new__(cls) -> '_CheckedArray':
        return np.ndarray.__new__(cls, 0)

    def __setstate__(self, state: tuple) -> None:
        """Take shape, type and bytes, if they fit each other."""
        _, shape, dtype, fortran_order, data = state
        if not isinstance(dtype, _CheckedDtype):
            raise UnpicklingError('checkpoint holds an array without a type')
        if not isinstance(data, bytes):
            data = data.encode('latin1')  # protocol 2 has no bytes
        super().__setstate__((1, shape, dtype.dtype, fortran_order, data))

    def __reduce__(self) -> str | tuple:
        return np.array(self, subok=False).__reduce__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple:
        return np.array(self, subok=False).__reduce_ex__(protocol)


def _checked_reconstruct(kind: type, shape: tuple, code: bytes) -> _CheckedArray:
    """Start an array, which its ``__setstate__`` fills."""
    return _CheckedArray()


def _checked_scalar(dtype: _CheckedDtype, data: bytes) -> np.generic:
    """Read one NumPy number from its bytes."""
    if not isinstance(dtype, _CheckedDtype):
        raise UnpicklingError('checkpoint holds a number without a type')
    if not isinstance(data, bytes):
        data = data.encode('latin1')
    return np.frombuffer(data, dtype.dtype, count=1)[0]


def _no_bytes() -> bytes:
    """The data of an empty array, for which a file says ``bytes()``."""
    return b''


def _readers() -> list[tuple[Callable, str]]:
    """Pairs of (reader, name in the file), as torch takes them."""
    readers: list[tuple[Callable, str]] = [
        (_HistoryReader, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_history_method, 'builtins.getattr'),
        (_no_bytes, 'builtins.bytes'),
        (_CheckedArray, 'numpy.ndarray'),
        (_CheckedDtype, 'numpy.dtype'),
        (Namespace, 'argparse.Namespace'),
    ]
    for module in _MULTIARRAY:
        readers += [
            (_checked_reconstruct, f'{module}._reconstruct'),
            (_checked_scalar, f'{module}.scalar'),
        ]
    return readers


def _qualified_name(entry: Any) -> str:
    """Name under which torch looks up an entry of its allow list."""
    if isinstance(entry, tuple):
        return entry[1]
    return f'{entry.__module__}.{entry.__qualname__}'


@contextmanager
def admit_harmless_objects() -> Iterator[None]:
    """Let ``torch.load(weights_only=True)`` read what does no harm.

    That is the log histories of MMEngine and an ``argparse.Namespace``.

    Only inside of the ``with`` block, and in addition to what the process
    already allows; where the process allows NumPy's own reconstructors, these
    readers take their place for the time of the block. Needs torch >= 2.6;
    earlier versions have no such list to extend, and the block does nothing.
    """
    if torch.__version__ < '2.6':  # compared as a version
        yield
        return
    lists = torch.serialization
    readers = _readers()
    names = {name for _, name in readers}
    before = lists.get_safe_globals()
    kept = [entry for entry in before if _qualified_name(entry) not in names]
    lists.clear_safe_globals()
    lists.add_safe_globals([*kept, *readers])
    try:
        yield
    finally:
        lists.clear_safe_globals()
        lists.add_safe_globals(before)


@contextmanager
def checked_loading() -> Iterator[None]:
    """Have ``torch.load`` read weights and nothing that could run code.

    Whoever calls it inside of the block, and whatever the default of this
    PyTorch. Beside weights it reads what is harmless: MMEngine's log
    histories, and the arguments in VideoMAE's files. Nothing is forced upon
    who sets ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``, which is PyTorch's name
    for a wish to the contrary.
    """
    load = torch.load
    if not _safe_loading_is_off():
        torch.load = partial(_load_checked, load)
    try:
        with admit_harmless_objects():
            yield
    finally:
        torch.load = load


def _safe_loading_is_off() -> bool:
    wish = os.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '0')
    return wish.lower() in ('1', 'y', 'yes', 'true')


def _load_checked(
    load: Callable, file: object, map_location: object = None, **options: Any
) -> object:
    """``torch.load`` with our choice of the unpickler."""
    if torch.__version__ < '2.6':  # compared as a version
        # It has no list of what to admit beside weights, so the unpickler is
        # ours: it reads the same as later versions do.
        options.update(weights_only=False, pickle_module=_checked_pickle())
    else:
        options['weights_only'] = True
    return load(file, map_location, **options)


def _checked_pickle() -> types.ModuleType:
    """A stand-in for ``pickle`` that looks up harmless things only."""
    from torch import _weights_only_unpickler as weights

    known = dict(weights._get_allowed_globals())
    known.update({name: reader for reader, name in _array_readers()})
    known.update({name: reader for reader, name in _readers()})

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            # What Python 2 called it is what files of protocol 2 have.
            module = {'__builtin__': 'builtins'}.get(module, module)
            if f'{module}.{name}' not in known:
                raise UnpicklingError(
                    f'Weights only load failed: unsupported class {module}.{name}'
                )
            return known[f'{module}.{name}']

    def load(file: BinaryIO, encoding: str = 'ASCII') -> object:
        return Unpickler(file, encoding=encoding).load()

    module = types.ModuleType('amd_mm_checked_pickle')
    vars(module).update(Unpickler=Unpickler, load=load)
    return module


class NumbersUnpickler(pickle.Unpickler):
    """Plain containers, text, numbers and NumPy arrays of numbers."""

    def find_class(self, module: str, name: str) -> object:
        """Look up one of the readers of this module."""
        readers = {known: reader for reader, known in _array_readers()}
        try:
            return readers[f'{module}.{name}']
        except KeyError:
            raise UnpicklingError(
                f'it holds {module}.{name}, and only plain containers and '
                'arrays of numbers are read'
            ) from None


def _array_readers() -> list[tuple[Callable, str]]:
    """Pairs of (reader, name in the file), for arrays in any protocol."""
    readers: list[tuple[Callable, str]] = [
        (_no_bytes, 'builtins.bytes'),
        (_no_bytes, '__builtin__.bytes'),
        (_CheckedArray, 'numpy.ndarray'),
        (_CheckedDtype, 'numpy.dtype'),
        (_latin1_bytes, '_codecs.encode'),
    ]
    for module in _MULTIARRAY:
        readers += [
            (_checked_reconstruct, f'{module}._reconstruct'),
            (_checked_scalar, f'{module}.scalar'),
        ]
    for core in ('numpy.core', 'numpy._core'):
        readers.append((_checked_buffer, f'{core}.numeric._frombuffer'))
    return readers


def _checked_buffer(data: bytes, dtype: _CheckedDtype, shape: tuple, order: Any) -> np.ndarray:
    """Read an array from protocol 5, which writes it as a buffer."""
    if not isinstance(dtype, _CheckedDtype):
        raise UnpicklingError('it holds an array without a type')
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """Bytes in a pickle of protocol 2, which spells them as text."""
    return text.encode('latin1')


def load_numbers(stream: BinaryIO) -> object:
    """Unpickle plain containers and arrays of numbers, and nothing else.

    Unlike ``pickle.load`` it runs no code that the file names, so that a
    downloaded file can be read (box proposals of AVA, for instance).

    Args:
        stream (BinaryIO): Open for reading, at the beginning of the pickle.

    Returns:
        object: What the file holds. Arrays may be of a subclass of
        ``numpy.ndarray``; ``numpy.array(...)`` makes them plain.

    Raises:
        UnpicklingError: If the file asks for anything else.
    """
    # Python 2 wrote text and the bytes of arrays alike.
    return NumbersUnpickler(stream, encoding='latin1').load()
